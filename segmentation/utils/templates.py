"""Texts from Jinja templates, with tables in Markdown as MLflow's pages show them best."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def row(cells: Sequence[str]) -> str:
    """Return a row of a table; MLflow's pages leave no space between cells, so each brings some."""
    return "|" + "|".join(f"\u00a0{cell}\u00a0\u00a0" for cell in cells) + "|"


def rule(columns: int) -> str:
    """Return the line below the head of a table."""
    return "|" + "---|" * columns


def line(text: str) -> str:
    """Put a text on one line; markup stays markup."""
    return type(text)(" ").join(text.split())


def paragraphs(text: str) -> list[str]:
    """Return the parts of a text between empty lines, each on one line."""
    return [line(part) for part in text.split("\n\n") if part.strip()]


def environment(
    folder: Path, filters: dict[str, Callable[..., Any]], *, autoescape: bool = False
) -> Environment:
    """Return what renders the templates of a folder, with some filters besides the common ones."""
    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=autoescape,  # noqa: S701 - HTML is, text has nothing to escape
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    common = {"f3": "{:.3f}".format, "line": line, "paragraphs": paragraphs, "row": row}
    made.filters.update(common | filters)
    made.globals["rule"] = rule
    return made
