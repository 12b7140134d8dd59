"""The pages of experiments, runs, models and versions in MLflow, as Markdown templates."""

from pathlib import Path
from typing import Any

from segmentation.utils.templates import environment

_ENVIRONMENT = environment(Path(__file__).parent, {})


def render(template: str, /, **values: Any) -> str:
    """Return a page as Markdown."""
    return _ENVIRONMENT.get_template(f"{template}.md.jinja").render(values)
