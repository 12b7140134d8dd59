"""Markdown as MLflow's pages show it best."""

from collections.abc import Sequence


def row(cells: Sequence[str]) -> str:
    """Return a row of a table; MLflow's pages leave no room between cells, so each brings some."""
    return "|" + "|".join(f"\u00a0{cell}\u00a0\u00a0" for cell in cells) + "|"


def rule(columns: int) -> str:
    """Return the line below the head of a table."""
    return "|" + "---|" * columns
