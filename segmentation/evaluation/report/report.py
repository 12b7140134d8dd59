"""What an examination found, told: metrics, console lines, a page to mail, and `markdown`."""

import base64
import dataclasses
import re
from collections.abc import Mapping

import numpy as np
from jinja2 import Environment, StrictUndefined

from segmentation.data.oxford_pets import Example
from segmentation.evaluation.analysis import Analysis
from segmentation.evaluation.report import text as words
from segmentation.evaluation.report.html import TEMPLATE
from segmentation.evaluation.report.markdown import markdown
from segmentation.evaluation.report.text import ReportContext

__all__ = ["ReportContext", "lines", "markdown", "metrics", "page"]

_MOST_ROWS = 500
_MOST_PROBLEMS = 50
_DOZEN = 12
_KINDS = {"png": "image/png", "jpg": "image/jpeg"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Row:
    """The scores of one image."""

    example: Example
    dice: float
    iou: float
    accuracy: float
    boundary: float
    floor: float


def metrics(examination: Analysis) -> dict[str, float]:
    """Return the figures as MLflow keeps them, by names such as `test/dice`."""
    counts = examination.evaluation.counts
    pooled = counts.pooled()
    found = {
        "dice_pooled": pooled.dice,
        "iou_pooled": pooled.iou,
        "accuracy_pooled": pooled.accuracy,
        "pet_share": counts.pet_share(),
        "boundary_f": float(examination.boundary.mean()),
        "calibration_error": examination.calibration_error,
        "best_threshold": examination.best_threshold,
    }
    for border, other in examination.by_border.items():
        found[f"dice_border_{border}"] = other.counts.mean().dice
    for one in words.of_kind(examination, "species"):
        found |= {f"dice_{one.name}": one.dice, f"images_{one.name}": float(one.images)}
    more = {f"{examination.split}/{name}": value for name, value in found.items()}
    return examination.evaluation.metrics() | more


def lines(examination: Analysis, about: ReportContext) -> list[str]:
    """Return what the console says."""
    said = [
        f"Score: {words.score(examination)}",
        f"Pooled: {words.pooled(examination)}",
        f"Floors: {words.floors(examination)}",
        f"Border: {words.borders(examination)}",
        f"Outline: {words.boundary(examination)}",
        f"Probabilities: {words.calibration(examination)}",
        f"Species: {words.species(examination)}",
    ]
    if extremes := words.extremes(examination):
        said.append(f"Breeds: {extremes}")
    if unseen := words.unseen(examination, about):
        said.append(f"Seen: {unseen}")
    return said + [f"Warning: {warning}" for warning in words.warnings(examination, about)]


def page(examination: Analysis, about: ReportContext, pictures: Mapping[str, bytes]) -> str:
    """Return the report as one HTML file that needs no other.

    Args:
        examination: what was found.
        about: what else a reader must know.
        pictures: encoded files by name: `threshold.png`, `calibration.png`, `scores.png`,
            `slices.png`, `worst.jpg`, `random.jpg`; what is not there is left out.
    """
    warnings = words.warnings(examination, about)
    left_out = words.left_out(examination)
    rows = _rows(examination)
    every = words.images(examination)
    shown = f"The worst {_MOST_ROWS} of {every}" if len(rows) > _MOST_ROWS else f"All {every}"
    problems = list(examination.problems[:_MOST_PROBLEMS])
    if more := len(examination.problems) - len(problems):
        problems.append(f"and {more:,} more")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    extremes = words.extremes(examination)
    return environment.from_string(TEMPLATE).render(
        found=examination,
        about=about,
        all_images=every,
        mean=examination.evaluation.counts.mean(),
        interval=examination.evaluation.interval(),
        warnings=[*warnings, *([words.sentence(left_out)] if left_out else [])],
        rows=rows[:_MOST_ROWS],
        shown=shown,
        dozen=min(_DOZEN, len(rows)),
        problems=problems,
        left_out=words.sentence(left_out),
        species=words.of_kind(examination, "species"),
        breeds=words.by_dice(words.of_kind(examination, "breed")),
        extremes=words.sentence(extremes) if extremes else "",
        score=words.sentence(words.score(examination)),
        floors=words.sentence(words.floors(examination)),
        pooled=words.sentence(words.pooled(examination)),
        boundary=words.sentence(words.boundary(examination)),
        calibration=words.sentence(words.calibration(examination)),
        unseen=words.sentence(words.unseen(examination, about)) if about.seen == 0 else "",
        tolerance=words.tolerance(),
        border_of=words.border_of,
        definitions=[(term, _prose(meaning)) for term, meaning in words.DEFINITIONS],
        data=_prose(about.data),
        pictures={name: _address(name, content) for name, content in pictures.items()},
    )


def _rows(examination: Analysis) -> list[_Row]:
    """Return the scores of every image, the lowest Dice first."""
    counts = examination.evaluation.counts
    dice, iou, accuracy = counts.dice(), counts.iou(), counts.accuracy()
    floor = counts.all_pet().dice()
    return [
        _Row(
            example=examination.examples[position],
            dice=dice[position],
            iou=iou[position],
            accuracy=accuracy[position],
            boundary=examination.boundary[position],
            floor=floor[position],
        )
        for position in np.argsort(dice, kind="stable")
    ]


def _prose(text: str) -> list[tuple[str, str]]:
    """Take a sentence in Markdown apart: `code`, `em` (emphasis) or nothing, and the words."""
    parts = re.split(r"(`[^`]+`|\*(?!\s)[^*]+(?<!\s)\*)", text)
    return [
        ({"`": "code", "*": "em"}[part[0]], part[1:-1]) if position % 2 else ("", part)
        for position, part in enumerate(parts)  # every second one matched
    ]


def _address(name: str, content: bytes) -> str:
    """Return a file as a data: address."""
    return f"data:{_KINDS[name.rpartition('.')[2]]};base64,{base64.b64encode(content).decode()}"
