"""Settings are checked once, all at once."""

import pytest

from segmentation.config.training import Config
from segmentation.errors import ConfigError


def test_every_impossible_value_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        Config.from_options({"border": "half", "train_images": 0, "width": 0, "epochs": "ten"})
    for part in (
        "border=half: expected one of pet, background, ignore",
        "train_images=0: expected a whole number, at least 1, or 'all'",
        "epochs=ten: expected a whole number, at least 1",
        "width=0: expected a whole number, at least 1 and at most 1024",
    ):
        assert part in str(raised.value)


def test_a_path_need_not_be_utf8_but_not_be_empty() -> None:
    assert Config.from_options({"data": "caf\udce9"}).data.source == "caf\udce9"
    with pytest.raises(ConfigError, match="data= : expected a text that is not empty"):
        Config.from_options({"data": " "})
