"""The house's rules, read from the code itself."""

import importlib

import click
import pytest
import yaml

from experiments import train
from experiments.options import given
from segmentation.errors import ConfigError
from tests.helpers.programs import PROJECT

ENTRIES = yaml.safe_load((PROJECT / "MLproject").read_text())["entry_points"]


@pytest.mark.parametrize("entry", ENTRIES)
def test_mlproject_and_the_command_line_have_the_same_parameters_and_defaults(entry: str) -> None:
    module = importlib.import_module(f"experiments.{'train' if entry == 'main' else entry}")
    project, command = ENTRIES[entry], module.main
    options = {param.name: param for param in command.params}
    assert set(project["parameters"]) == set(options)
    for name, declared in project["parameters"].items():
        option = options[name]
        assert f"{option.opts[0]} {{{name}}}" in project["command"], name
        assert option.required == ("default" not in declared), name
        if option.required:
            continue
        context = click.Context(command)
        text = str(declared["default"])
        if option.default == "" and text:  # made from a setting, which knows its default
            assert f"[default: {text}]" in str(getattr(option, "help", "")), name
        else:
            default = option.type_cast_value(context, text)
            assert default == option.type_cast_value(context, option.default), name


def test_what_is_given_is_typed_and_not_yet_held_against_what_is_not() -> None:
    """The run that `like` names may have images that are large enough for this depth."""
    context = train.main.make_context("train", ["--like", "a", "--depth", "8", "--lr", "1e-3"])
    expected = {"like": "a", "depth": 8, "lr": 1e-3, "processes": 1}
    assert given(context) == expected
    with pytest.raises(ConfigError, match=r"depth=9: expected .*; lr=0: expected"):
        given(train.main.make_context("train", ["--depth", "9", "--lr", "0"]))
