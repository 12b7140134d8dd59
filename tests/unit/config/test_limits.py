"""Every setting at its limits and just beyond them, alone, in a search, and with others."""

import itertools
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from segmentation.config import fields
from segmentation.config.benchmark import BenchmarkConfig
from segmentation.config.commands import (
    EvaluateOptions,
    PrepareOptions,
    PromoteOptions,
    RecoverOptions,
    TrainOptions,
)
from segmentation.config.fields import Setting, from_options
from segmentation.config.search import SearchConfig
from segmentation.config.shrink import ShrinkConfig
from segmentation.config.training import GROUPS, Config, searchable, typed
from segmentation.errors import ConfigError
from segmentation.models.unet import build_unet
from segmentation.training.schedule import resolution_schedule
from segmentation.tuning.space import check, parse
from tests.helpers.in_process import run_entry

SETTINGS = [
    pytest.param(group, one, id=one.option)
    for group in (
        *(*GROUPS.values(), SearchConfig, ShrinkConfig, BenchmarkConfig, TrainOptions),
        *(EvaluateOptions, PromoteOptions, PrepareOptions, RecoverOptions),
    )
    for one in fields.declared(group)
]
PLAIN = {one.option: str(one.default) for one in searchable()} | {"encoder": "unet"}


def limits(one: Setting) -> tuple[list[Any], list[Any]]:
    """Return the values at the limits that a setting's sentence tells, and those just beyond."""
    inside: list[Any] = list(one.choices)
    beyond: list[Any] = [] if one.kind is str and not one.choices else ["x"]
    step = 1 if one.kind is int else 1e-9
    for words, text in re.findall(r"(at least|more than|at most|less than) ([\d.]+)", one.expected):
        last = one.kind(text)
        outward = -step if words in ("at least", "more than") else step
        closed = words.startswith("at ")
        inside.append(last if closed else last - outward)
        beyond.append(last + outward if closed else last)
    return inside, beyond


@pytest.mark.parametrize(("group", "one"), SETTINGS)
def test_a_setting_keeps_the_limits_that_it_tells(group: Any, one: Setting) -> None:
    inside, beyond = limits(one)
    # A number has both limits, or tells what there is where it is used.
    assert len(beyond) == 3 or one.kind not in (int, float) or "'all'" in one.expected
    for value in inside:
        assert getattr(from_options(group, {one.option: str(value)}), one.name) == value
    for value in [*beyond, *(["nan", "inf"] if beyond else [" "])]:
        with pytest.raises(ConfigError, match=f"{one.option}={value}: expected"):
            from_options(group, {one.option: str(value)})


@pytest.mark.parametrize("one", [pytest.param(one, id=one.option) for one in searchable()])
def test_a_search_keeps_the_limits_of_a_setting(one: Setting) -> None:
    inside, beyond = limits(one)
    texts = [f"{value},{one.default}" for value in [*beyond, ""]]
    if one.kind is not str:
        texts += [f"{beyond[1]}..{inside[1]}", f"{inside[0]}..{beyond[2]}", f"1..{'9' * 400}"]
    for text in texts:
        with pytest.raises(ConfigError, match=rf"^{one.option}=[^;]+: expected [^;]+$"):
            search({one.option: text}, image_size=2048)
    search({one.option: ",".join(map(str, inside)) or "unet,resnet34"}, image_size=2048)


def search(texts: dict[str, str], **options: object) -> None:
    """Check what is searched as `tune` does."""
    fixed, space = parse(PLAIN | texts)
    check(space, {**fixed, **options})


@pytest.mark.parametrize("image_size", [16, 33])
def test_what_settings_allow_together_trains_the_rest_is_refused(image_size: int) -> None:
    trained = 0
    for depth, patch in itertools.product(range(2, 9), range(1, 9)):
        shape = {"image_size": image_size, "depth": depth, "patch": patch, "width": 1}
        try:
            config = Config.from_options({"encoder": "unet", **shape})
        except ConfigError:
            depths = f"{depth},2" if depth > 2 else "2"
            with pytest.raises(ConfigError, match=f"depth={depth}: at image_size={image_size} "):
                search({"depth": depths, "patch": str(patch), "lr": "1,2"}, image_size=image_size)
            continue
        network = build_unet(config.model, 0)
        for _, size in resolution_schedule(image_size, network.stride):
            image = torch.zeros(1, 3, size, size, dtype=torch.uint8)
            answer = network(image)
            answer.mean().backward()
            assert answer.shape[-2:] == image.shape[-2:]
            trained += 1
    assert trained > 5


def test_what_is_given_is_typed_and_not_yet_held_against_what_is_not() -> None:
    """The run that `like` names may have images that are large enough for this depth."""
    given = {"like": "a", "depth": "8", "lr": "1e-3"}
    assert typed(given) == {"like": "a", "depth": 8, "lr": 1e-3}
    with pytest.raises(ConfigError, match=r"depth=9: expected .*; lr=0: expected"):
        typed({"depth": "9", "lr": "0"})


@pytest.mark.parametrize(
    ("entry", "words", "named"),
    [
        ("train", "--budget=soon --lr=-1 --width=0", "budget lr width"),
        ("train", "--like=a --budget=soon --lr=-1", "budget lr"),
        ("tune", "--trials=soon --model-name=a/b --width=8..4", "trials model_name width"),
        ("tune", "--trials=soon --lr=-1", "trials lr"),
        ("evaluate", "--split=all --border=none", "split border"),
        ("promote", "--force=maybe --device=tpu", "force device"),
        ("predict", "--images=a --output=b --threshold=3 --device=tpu", "threshold device"),
        ("prepare", "--train-images=0 --border=none", "train_images border"),
    ],
)
def test_mistakes_of_all_kinds_are_named_at_once(
    tmp_path: Path, entry: str, words: str, named: str
) -> None:
    done = run_entry(entry, words.split(), tmp_path, os.environ)
    assert (done.returncode, done.stderr.startswith("Error: ")) == (2, True)
    assert set(re.findall(r"(\w+)=[^ ]+: expected", done.stderr)) == set(named.split())


@pytest.mark.parametrize(
    ("storage", "text"),
    [
        ("mysql://a@b/c", "storage=mysql://a@b/c: expected postgresql://"),
        ("postgresql://a@b:port/c", "storage: expected postgresql://"),
        ("postgresql://a@b", "storage=postgresql://a@b: expected"),
        ("postgresql://a:secret@b/c", "holds a password"),
        ("postgresql://a@b/c?password=secret", "holds a password"),
        ("postgresql://a@b/c?sslpassword=secret", "holds a password"),
    ],
)
def test_an_address_of_no_database_or_with_a_password_is_refused(storage: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SearchConfig(storage=storage)
    assert text in str(caught.value)
    assert "secret" not in str(caught.value)
