"""The house's rules, read from the code itself."""

from pathlib import Path

import click
import pytest
import yaml

from experiments import (
    benchmark,
    evaluate,
    predict,
    prepare,
    promote,
    recover,
    shrink,
    train,
    tune,
)
from tests.helpers.programs import PROJECT


@pytest.mark.parametrize(
    ("entry", "command"),
    [
        ("main", train.main),
        ("train", train.main),
        ("tune", tune.main),
        ("evaluate", evaluate.main),
        ("promote", promote.main),
        ("predict", predict.main),
        ("prepare", prepare.main),
        ("benchmark", benchmark.main),
        ("recover", recover.main),
        ("shrink", shrink.main),
    ],
)
def test_mlproject_and_the_command_line_have_the_same_parameters_and_defaults(
    entry: str, command: click.Command
) -> None:
    project = yaml.safe_load(Path(PROJECT / "MLproject").read_text())["entry_points"][entry]
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
