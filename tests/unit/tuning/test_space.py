"""The notation in which users say what is searched."""

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from segmentation.config.training import defaults, searchable
from segmentation.errors import ConfigError
from segmentation.tuning.space import check, notation, parse

ALL = {one.option: str(one.default) for one in searchable()}


def test_values_ranges_and_choices_are_told_apart() -> None:
    typed = {"width": "8..32:8", "lr": "3e-4..3e-2", "depth": "3,4", "loss": "bce, bce+dice"}
    fixed, space = parse(ALL | typed)
    assert space == {
        "width": IntDistribution(8, 32, step=8),
        "depth": CategoricalDistribution((3, 4)),
        "lr": FloatDistribution(3e-4, 3e-2, log=True),
        "loss": CategoricalDistribution(("bce", "bce+dice")),
    }
    assert fixed["augment"] == "strong"
    assert fixed["batch_size"] == 8
    assert set(fixed) | set(space) == set(ALL)


def test_the_notation_of_a_dimension_reads_as_it_was_typed() -> None:
    typed = {"width": "8..32:8", "lr": "0.0003..0.03", "depth": "3..5", "augment": "none,light"}
    _, space = parse(ALL | typed)
    assert notation(space) == typed


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("width", "8...32", "expected a whole number, LOW..HIGH"),
        ("width", "32..8", "LOW below HIGH"),
        ("width", "8..32:7", "LOW plus a multiple of 7"),
        ("width", "8..32:0", "a step above 0"),
        ("width", "8,8", "different choices"),
        ("lr", "0..1e-2", "its logarithm is searched"),
        ("lr", "1e-3..nan", "LOW below HIGH"),
        ("lr", "1e-3,", "expected a number"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(name: str, text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(ALL | {"lr": "1e-3..1e-2", name: text})
    assert str(refused.value).startswith(f"{name}={text}: ")
    assert reason in str(refused.value)


def test_encoders_that_are_searched_are_compared_with_trains_own_defaults() -> None:
    fixed, space = parse(ALL | {"encoder": "unet,efficientnet_lite0", "lr": "1e-3"})
    assert check(space, fixed) == defaults() | {"lr": 1e-3}


def test_all_texts_that_cannot_be_read_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"(?s)width=a.*lr=b"):
        parse(ALL | {"width": "a..b", "lr": "b"})
