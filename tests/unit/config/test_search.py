"""The settings of a search."""

import pytest

from segmentation.config.search import SearchConfig
from segmentation.errors import ConfigError


@pytest.mark.parametrize(
    ("storage", "text"),
    [
        ("mysql://a@b/c", "storage=mysql://a@b/c: expected postgresql://"),
        ("postgresql://a@b:port/c", "storage: expected postgresql://"),
        ("postgresql://a@b", "storage=postgresql://a@b: expected"),
        ("postgresql://a:secret@b/c", "holds a password"),
        ("postgresql://a@b/c?password=secret", "holds a password"),
    ],
)
def test_an_address_of_no_database_or_with_a_password_is_refused(storage: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SearchConfig(storage=storage)
    assert text in str(caught.value)
    assert "secret" not in str(caught.value)
