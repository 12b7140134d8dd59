"""Settings are checked once, all at once."""

import math

import pytest

from segmentation.config.training import Config, ModelConfig, TrainingConfig
from segmentation.errors import ConfigError


def test_defaults_are_valid_and_flat_names_are_dotted() -> None:
    flat = Config().flat()
    assert flat["model.width"] == 16
    assert flat["data.source"] == "auto"
    assert all(name.count(".") == 1 for name in flat)


def test_every_impossible_value_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        Config.from_options(
            {
                "border": "half",
                "train_images": 0,
                "width": 0,
                "epochs": "ten",
                "lr": -1.0,
                "ema": 1.0,
                "precision": "int8",
            }
        )
    for part in (
        "border=half: expected one of pet, background, ignore",
        "train_images=0: expected a whole number, at least 1, or 'all'",
        "epochs=ten: expected a whole number, at least 1",
        "width=0: expected a whole number, at least 1 and at most 1024",
        "lr=-1.0: expected a number, more than 0 and less than 10",
        "ema=1.0: expected a number, at least 0 and less than 1",
        "precision=int8: expected one of auto, bf16, fp16, fp32",
    ):
        assert part in str(raised.value)


def test_a_path_need_not_be_utf8_but_not_be_empty() -> None:
    assert Config.from_options({"data": "caf\udce9"}).data.source == "caf\udce9"
    with pytest.raises(ConfigError, match="data= : expected a text that is not empty"):
        Config.from_options({"data": " "})


@pytest.mark.parametrize("lr", [math.nan, math.inf, 0.0])
def test_a_learning_rate_that_is_no_positive_number_is_refused(lr: float) -> None:
    with pytest.raises(ConfigError, match="lr="):
        Config(training=TrainingConfig(lr=lr))


def test_a_depth_that_leaves_no_pixels_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"depth=8: at image_size=128 .* lower depth or patch"):
        Config(model=ModelConfig(depth=8))
    Config(model=ModelConfig(depth=6))


def test_options_use_the_names_that_users_type() -> None:
    texts = {"data": "synthetic", "val_images": "all", "seed": "3", "width": "", "lr": "1e-3"}
    config = Config.from_options(texts)
    assert config.data.source == "synthetic"
    assert config.data.val_images == "all"
    assert (config.training.seed, config.training.lr) == (3, 1e-3)
    assert config.model.width == 16  # an empty text stands for the default
