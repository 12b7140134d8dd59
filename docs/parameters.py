"""Write reference/parameters.md from the declared options: `python -m docs.parameters`."""

import re
from collections.abc import Iterator
from pathlib import Path

import click

from experiments.petseg import ENTRY_POINTS, command
from segmentation.config.benchmark import BenchmarkConfig
from segmentation.config.fields import MOST, declared
from segmentation.config.search import SearchConfig
from segmentation.config.shrink import ShrinkConfig
from segmentation.config.training import GROUPS

PAGE = Path(__file__).parent / "reference" / "parameters.md"
_EXPECTED = {
    f"{one.text}  [default": one.expected
    for one in declared(*GROUPS.values(), SearchConfig, ShrinkConfig, BenchmarkConfig)
}
_TYPES = {
    "boolean": "true or false",
    "float": "a number",
    "integer range": "a whole number, at least 1",
    "text": "text",
}
_HEAD = """# Parameters

<!-- Written by `python -m docs.parameters`, from the code. -->

`mlflow run` takes a parameter as `-P train_images=50`. `python -m experiments.train`, the same
program without MLflow's launcher, takes it as `--train-images 50`; `--help` lists all of them. An
empty value stands for the default.

A run logs each setting once, under its name here: what you typed as you typed it, such as `1e-3`,
all others as they were used. What `auto` came to is also in the tags `data.source`, `device` and
`amp`. Runs of earlier versions have longer names, such as `training.lr`; `like` knows both.
"""


def page() -> str:
    """Return the page, a table for each entry point."""
    return "\n".join([_HEAD, *(_section(name) for name in ENTRY_POINTS)])


def _section(name: str) -> str:
    text = str(command(name).help).split("\n\n")[0].replace("\n", " ")
    head = ["| parameter | default | value | meaning |", "|---|---|---|---|"]
    return "\n".join([f"## {name}", "", text, "", *head, *_rows(command(name)), ""])


def _rows(entry: click.Command) -> Iterator[str]:
    for option in (one for one in entry.params if isinstance(one, click.Option)):
        text, _, default = str(option.help).removesuffix("]").partition("  [default: ")
        default = default or str(option.default).lower()
        shown = "required" if option.required else f"`{default}`" if default else "(empty)"
        yield f"| `{option.name}` | {shown} | {_value(option)} | {text} |"


def _value(option: click.Option) -> str:
    """Say what an option takes."""
    if isinstance(option.type, click.Choice):
        return f"one of {', '.join(option.type.choices)}"
    beginning = str(option.help).partition("[default")[0] + "[default"
    expected = _EXPECTED.get(beginning, _TYPES.get(option.type.name, option.type.name))
    several = "; or a range, or choices" if str(option.metavar).startswith("VALUE|") else ""
    return re.sub(rf"a (?=text)| that is not empty| and at most {MOST}", "", expected) + several


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
