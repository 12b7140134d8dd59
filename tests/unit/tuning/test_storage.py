"""Where studies are kept."""

import sys

import pytest

from segmentation.errors import explain
from segmentation.tuning.storage import StudyLocation, open_storage


def test_postgresql_without_its_package_says_which_extra_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)  # as if it were not installed
    location = StudyLocation(name="pets", address="postgresql://me@127.0.0.1:9/x", heartbeat=10)
    with pytest.raises(ModuleNotFoundError) as caught:
        open_storage(location)
    assert "pip install '.[postgres]'" in str(explain(caught.value))
