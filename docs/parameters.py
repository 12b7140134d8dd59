"""Write reference/parameters.md from the declared settings: `python -m docs.parameters`."""

import re
from collections.abc import Iterator
from pathlib import Path

from experiments.options import CONFIG
from experiments.petseg import ENTRY_POINTS, command
from segmentation.config.commands import parameters
from segmentation.config.fields import MOST

PAGE = Path(__file__).parent / "reference" / "parameters.md"
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
    rows = [f"| `config` | (empty) | text | {CONFIG.help} |", *_rows(name)]
    return "\n".join([f"## {name}", "", text, "", *head, *rows, ""])


def _rows(name: str) -> Iterator[str]:
    for option, one in parameters(name).items():
        text, _, default = one.help.removesuffix("]").partition("  [default: ")
        shown = f"`{default}`" if default else "(empty)"
        if "default" not in one.schema:
            shown = "required"
        value = re.sub(rf"a (?=text)| that is not empty| and at most {MOST}", "", one.expected)
        several = "; or a range, or choices" if name == "tune" and one.search else ""
        yield f"| `{option}` | {shown} | {value}{several} | {text} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
