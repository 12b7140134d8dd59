"""The description of an evaluation's run, in Markdown."""

import re
from collections.abc import Sequence

from segmentation.evaluation.analysis import Analysis, Slice
from segmentation.evaluation.report import text as words
from segmentation.evaluation.report.text import ReportContext
from segmentation.evaluation.scoring import THRESHOLD
from segmentation.utils.markdown import row, rule

#: Of more breeds than the sum the description has the lowest and the highest alone.
_LOWEST, _HIGHEST = 8, 4
_LONGEST_NAME, _LONGEST_WORDS = 40, 600


def markdown(examination: Analysis, about: ReportContext) -> str:
    """Return the description of the run; under 7,000 characters, as stores limit it."""
    split = examination.split
    notes = [f"**Beware.** {one}" for one in words.warnings(examination, about)]
    if left_out := words.left_out(examination):
        notes.append(f"**Beware.** {words.sentence(left_out)}")
    if unseen := words.unseen(examination, about):
        notes.append(words.sentence(unseen))
    parts = [
        f"**{words.score(examination)}.** {words.sentence(words.floors(examination))}",
        *notes,
        f"Model: {_cell(about.model)}, `{about.uri[:_LONGEST_WORDS]}`. "
        f"Data: {about.data[:_LONGEST_WORDS]}.",
        f"### Scores of {words.images(examination)}",
        _borders(examination),
        words.sentence(words.boundary(examination)),
        "### By species and breed",
        _slices(examination),
        f"### Thresholds, over {words.images(examination)}",
        _thresholds(examination),
        words.sentence(words.calibration(examination)),
        f"Open among the artifacts: `{split}/report.html` (all of this and more in one file that "
        f"can be mailed), `{split}/worst.jpg`, `{split}/random.jpg`, `{split}/images.json` (a "
        f"table with thumbnails), `{split}/images.csv`, `{split}/plots/*.png`.",
        f"**How it was computed.** {words.IN_BRIEF}",
    ]
    return "\n\n".join(parts) + "\n"


def _borders(examination: Analysis) -> str:
    table = [
        ["border", "Dice", "95 % interval", "IoU", "accuracy", "pooled Dice", "pooled IoU"],
    ]
    table[0] += ["pooled accuracy", "'pet' everywhere: Dice", "'background': accuracy", "images"]
    for name, one in examination.by_border.items():
        low, high = examination.by_border[name].interval()
        mean, pooled = one.counts.mean(), one.counts.pooled()
        floors = one.counts.all_pet().mean().dice, one.counts.all_background().mean().accuracy
        asked = " (asked for)" if name == examination.border else ""
        row = [f"{words.border_of(name)}{asked}", f"{mean.dice:.3f}", f"{low:.3f} to {high:.3f}"]
        rest = (mean.iou, mean.accuracy, pooled.dice, pooled.iou, pooled.accuracy, *floors)
        table.append([*row, *(f"{value:.3f}" for value in rest), f"{len(one.counts):,}"])
    return _table(table)


def _slices(examination: Analysis) -> str:
    """Return the table of slices; of many breeds the lowest and the highest."""
    breeds = words.by_dice(words.of_kind(examination, "breed"))
    left = len(breeds) - _LOWEST - _HIGHEST
    table = [["", "images", "Dice", "95 % interval", "IoU", "accuracy", "'pet' everywhere: Dice"]]
    table += [_slice(one) for one in words.of_kind(examination, "species")]
    if left > 0:
        table += [_slice(one) for one in breeds[:_LOWEST]]
        table += [[f"... {left} more, see the report", *[""] * 6]]
        table += [_slice(one) for one in breeds[-_HIGHEST:]]
    else:
        table += [_slice(one) for one in breeds]
    return _table(table)


def _slice(one: Slice) -> list[str]:
    interval = f"{one.interval[0]:.3f} to {one.interval[1]:.3f}" if one.interval else "too few"
    scores = [f"{value:.3f}" for value in (one.iou, one.accuracy, one.baseline)]
    return [_cell(one.name), f"{one.images:,}", f"{one.dice:.3f}", interval, *scores]


def _thresholds(examination: Analysis) -> str:
    """Return the curve at a few thresholds, 0.5 and the best among them."""
    some = sorted({0.1, 0.3, THRESHOLD, 0.7, 0.9, examination.best_threshold})
    return _table(
        [
            ["threshold", *(f"{one:g}" for one in some)],
            ["mean Dice", *(f"{examination.curve[one]:.3f}" for one in some)],
        ]
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a Markdown table, the first one its head."""
    head, *rest = (row(cells) for cells in rows)
    return "\n".join([head, rule(len(rows[0])), *rest])


def _cell(text: str) -> str:
    """Return a name for a cell of a Markdown table: short, and nothing in it is markup."""
    short = text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 3]}..."
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", short.replace("&", "&amp;").replace("<", "&lt;"))
