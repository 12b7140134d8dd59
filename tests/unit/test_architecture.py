"""The house's rules, read from the code itself."""

import importlib
import re

import pytest
import yaml

from experiments import train
from experiments.options import given
from segmentation.config.training import typed
from segmentation.errors import ConfigError
from tests.helpers.programs import PROJECT

TEXT = (PROJECT / "MLproject").read_text()
SECTIONS = {text.partition(":")[0]: text for text in re.split(r"\n  (?=\w)", TEXT)}
ENTRIES = yaml.safe_load(TEXT)["entry_points"]


@pytest.mark.parametrize("entry", ENTRIES)
def test_mlproject_declares_what_is_required_and_tells_the_defaults_of_the_rest(entry: str) -> None:
    module = importlib.import_module(f"experiments.{'train' if entry == 'main' else entry}")
    options = {str(param.name): param for param in module.main.params}
    declared = ENTRIES[entry].get("parameters", {})
    assert set(declared) == {name for name, option in options.items() if option.required}
    words = "".join(f" --{name} {{{name}}}" for name in declared)
    assert ENTRIES[entry]["command"] == f"python -m {module.__name__}{words}"
    told = re.findall(r"(\w+)=(\S*)", SECTIONS["main" if entry == "train" else entry])
    assert told
    for name, default in told:
        shown = re.search(r"\[default: (.*)\]", str(getattr(options[name], "help", "")))
        usual = shown[1] if shown else str(options[name].default)
        assert default.lower() == usual.lower().partition(", or")[0], name


def test_what_is_given_is_typed_and_not_yet_held_against_what_is_not() -> None:
    """The run that `like` names may have images that are large enough for this depth."""
    context = train.main.make_context("train", ["--like", "a", "--depth", "8", "--lr", "1e-3"])
    expected = {"like": "a", "depth": 8, "lr": 1e-3, "processes": 1}
    assert typed(given(context)) == expected
    with pytest.raises(ConfigError, match=r"depth=9: expected .*; lr=0: expected"):
        typed(given(train.main.make_context("train", ["--depth", "9", "--lr", "0"])))
