"""The pages of experiments, runs, models and versions in MLflow, as templates."""

import re
from pathlib import Path
from typing import Any

from segmentation.utils.templates import environment

_RUN = re.compile(r"`([0-9a-f]{32})`")
_ARTIFACT = re.compile(r"`((?:[\w-]+/)*[\w*-]+\.(?:csv|html|jpg|json|md|png|txt))`")

_ENVIRONMENT = environment(Path(__file__).parent, {})


def render(template: str, /, **values: Any) -> str:
    """Return what a template makes, given its file's name less `.jinja`."""
    return _ENVIRONMENT.get_template(f"{template}.jinja").render(values)


def linked(markdown: str, experiment: str, run_id: str = "") -> str:
    """Make links of the runs that a page names in backquotes, and of the files of its own run.

    Of `plots/*.png` the folder is linked.
    """
    runs = f"#/experiments/{experiment}/runs"
    page = _RUN.sub(rf"[`\1`]({runs}/\1)", markdown)
    return _ARTIFACT.sub(
        lambda found: f"[{found[0]}]({runs}/{run_id}/artifacts/{found[1].partition('/*')[0]})", page
    )


def version_link(name: str, version: str) -> str:
    return f"[version {version} of {name}](#/models/{name}/versions/{version})"
