"""An analysis as a reader gets it: console lines, the run's description, an HTML file to mail.

All of them show the same figures (`report_figures`), put into words by the templates beside this
module; `templates/sentences.jinja` has what they say alike.
"""

import base64
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment

from segmentation.evaluation.analysis import IMAGE_SCORES, Analysis
from segmentation.evaluation.scoring import THRESHOLD
from segmentation.utils.templates import environment, line

_SPLIT_NAMES = {"val": "validation", "train": "training"}
_BORDER_NAMES = {"pet": "as pet", "background": "as background", "ignore": "ignored"}
_MOST_ROWS = 500
_LONGEST_NAME = 40


def split_images(analysis: Analysis, number: int | None = None) -> str:
    """Return such as `60 test images`: all of them, or `number`."""
    number = len(analysis.examples) if number is None else number
    kind = _SPLIT_NAMES.get(analysis.split, analysis.split)
    return f"{number:,} {kind} image{'' if number == 1 else 's'}"


def sliced_by(analysis: Analysis) -> str:
    """Return what the slices are, such as `species and breed`; empty where there are none."""
    species = "species and " if analysis.species else ""
    return species + analysis.labels.kind


def counted(number: int) -> str:
    """Return such as `1 image` or `12 images`."""
    return f"{number:,} image{'' if number == 1 else 's'}"


def report_figures(
    analysis: Analysis,
    *,
    model: str,
    uri: str,
    data: str,
    seen: Mapping[str, int] | None,
    own_threshold: float = THRESHOLD,
) -> dict[str, Any]:
    """Return what the templates show, by the names they use.

    `model` is such as `pet-unet version 3`; `data` says what the images are and under which
    licence, in Markdown; `seen` how many of them `train`ed the model, and how many of `val` chose
    its epoch, None if that is not known. Predictions of the model use `own_threshold`.
    """
    counts = analysis.evaluation.counts
    worst = np.argsort(counts.dice(), kind="stable")[:_MOST_ROWS]
    baseline = counts.all_pet().dice()
    own = own_threshold if own_threshold in analysis.curve else THRESHOLD
    thresholds = {0.1, 0.3, THRESHOLD, 0.7, 0.9, analysis.best_threshold, own}
    return {
        "analysis": analysis,
        "model": model,
        "uri": uri,
        "data": data,
        "seen": seen,
        "image_scores": IMAGE_SCORES,
        "noun": analysis.labels.noun,
        "trimap": analysis.labels.trimap,
        "by": sliced_by(analysis),
        "threshold": THRESHOLD,
        "own_threshold": own,
        "border_names": _BORDER_NAMES,
        "images": split_images(analysis),
        "all_images": split_images(analysis, len(analysis.examples) + len(analysis.problems)),
        "some_thresholds": {one: analysis.curve[one] for one in sorted(thresholds)},
        "did": {"train": "trained it", "val": "chose its epoch"},
        "rows": [
            {
                "example": analysis.examples[position],
                "scores": {name: values[position] for name, values in analysis.scores.items()},
                "baseline": baseline[position],
            }
            for position in worst
        ],
    }


def console_lines(figures: Mapping[str, Any]) -> list[str]:
    return _TEXT.get_template("console.txt.jinja").render(figures).splitlines()


def description(figures: Mapping[str, Any]) -> str:
    return _TEXT.get_template("description.md.jinja").render(figures)


def version_note(figures: Mapping[str, Any], source: str, run_id: str) -> str:
    """Return what the page of the model's version says of the evaluation in run `run_id`."""
    template = _TEXT.get_template("version.md.jinja")
    return template.render(figures, source=source, run_id=run_id)


def html_report(figures: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """Return the report as one HTML file that needs no other; `pictures` are files by their names.

    It shows `threshold.png`, `calibration.png`, `scores.png`, `slices.png`, `worst.jpg` and
    `random.jpg`, as far as they are there.
    """
    kinds = {name: name.rpartition(".")[2].replace("jpg", "jpeg") for name in pictures}
    embedded = {
        name: f"data:image/{kinds[name]};base64,{base64.b64encode(content).decode()}"
        for name, content in pictures.items()
    }
    return _HTML.get_template("report.html.jinja").render(figures, pictures=embedded)


def _sentence(text: str) -> str:
    text = line(text)
    return text[:1].upper() + text[1:] + "."


def _cell(text: str) -> str:
    """Return a name for a cell of a Markdown table: short, and nothing in it is markup."""
    short = text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 3]}..."
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", short.replace("&", "&amp;").replace("<", "&lt;"))


def _environment(*, autoescape: bool) -> Environment:
    filters: dict[str, Callable[..., Any]] = {
        "g": lambda value: f"{value:g}",
        "range": lambda ends: f"{ends[0]:.3f} to {ends[1]:.3f}",
        "thousands": lambda number: f"{number:,}",
        "counted": counted,
        "sentence": _sentence,
        "cell": _cell,
        "plain": lambda markdown: re.sub("[*`]", "", markdown),
    }
    return environment(Path(__file__).parent / "templates", filters, autoescape=autoescape)


#: One environment each: a macro of `sentences.jinja` escapes as the one it was loaded in says.
_HTML, _TEXT = _environment(autoescape=True), _environment(autoescape=False)
