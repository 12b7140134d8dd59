"""The pages of experiments, runs, models and versions in MLflow, as Markdown templates."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=False,  # noqa: S701 - Markdown has nothing to escape
    undefined=StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)


def render(template: str, /, **values: Any) -> str:
    """Return a page as Markdown."""
    return _ENVIRONMENT.get_template(f"{template}.md.jinja").render(values)
