"""Pictures: photo, truth and prediction side by side; galleries; curves. All return RGB uint8."""

import io
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segmentation.errors import first_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_Drawing = TypeVar("_Drawing")
_log = logging.getLogger(__name__)

#: What colors of a picture mean.
Legend = Mapping[tuple[int, int, int], str]

# Okabe and Ito's colors, told apart by people with any kind of color vision.
_HIT, _FALSE, _MISSED = (0, 158, 115), (213, 94, 0), (86, 180, 233)
_STRENGTH = 0.55
_ASPECT = 4.0
_LONGEST = 20  # letters of a name above a small picture
_GAP = 4  # pixels between pictures
_SMALL = 116  # height of a picture among those of `glance`


def legend(noun: str) -> Legend:
    """Return what the colors of a prediction mean where the foreground is called `noun`."""
    return {_HIT: f"{noun} found", _FALSE: f"wrongly called {noun}", _MISSED: f"{noun} missed"}


def green(noun: str) -> Legend:
    """Return the same where no truth is known, or nothing but the truth is shown."""
    return {_HIT: noun}


def try_draw(name: str, draw: Callable[[], _Drawing]) -> _Drawing | None:
    """Return what `draw` draws; where that fails, say so: no work of hours ends for a picture."""
    try:
        return draw()
    except Exception as error:
        _log.warning("Not drawn: %s (%s: %s)", name, type(error).__name__, first_line(error))
        return None


def views(image: Picture, mask: Mask, prediction: Mask, height: int) -> list[Picture]:
    """Return photo, truth and prediction, each `height` pixels high, in the colors of `legend`.

    `image` is uint8 (H, W, 3), `mask` and `prediction` are bool (H, W). The aspect ratio is kept
    where it is below 4.
    """
    aspect = min(max(image.shape[1] / image.shape[0], 1 / _ASPECT), _ASPECT)
    size = (max(1, round(height * aspect)), height)
    photo = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    truth, found = (
        np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST), dtype=bool)
        for pixels in (mask, prediction)
    )
    outcome = photo
    outcomes = {_HIT: truth & found, _FALSE: ~truth & found, _MISSED: truth & ~found}
    for color, pixels in outcomes.items():
        outcome = _tint(outcome, pixels, color)
    return [photo, _tint(photo, truth, _HIT), outcome]


def panel(image: Picture, mask: Mask, prediction: Mask, height: int) -> Picture:
    """Put the `views` of an image side by side."""
    gap = np.full((height, _GAP, 3), 255, np.uint8)
    photo, truth, outcome = views(image, mask, prediction, height)
    return np.concatenate([photo, gap, truth, gap, outcome], axis=1)


def overlay(image: Picture, prediction: Mask) -> Picture:
    """Lay a prediction, bool (H, W), over its photo, uint8 (H, W, 3), in green."""
    return _tint(image, prediction, _HIT)


def encode(picture: Picture, form: str, **options: int) -> bytes:
    """Return a picture as a file in a format such as `JPEG`, with options of that format."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, form, **options)
    return stream.getvalue()


def encode_figure(figure: "Figure", dpi: int = 100) -> bytes:
    from segmentation.utils.figures import default_style

    stream = io.BytesIO()
    with default_style():
        figure.savefig(stream, format="png", dpi=dpi)
    return stream.getvalue()


def glance(
    names: Sequence[str], images: Picture, masks: Mask, predictions: Mask, key: Legend
) -> Picture:
    """Lay out small `views` of some images in a square, to be read in half its size.

    MLflow puts a picture into the middle of a square, and shows as much of its upper part as a
    run's params leave room for, in a narrow window without its right fifth: so the first row is
    low, nothing is above it, and nothing but white is in that fifth.
    """
    each = zip(images, masks, predictions, strict=True)
    page = sheet([panel(*one, _SMALL) for one in each], names, 2, key, size=_SMALL // 5)
    height, width = page.shape[:2]
    side = max(height, width * 5 // 4)
    return np.pad(page, ((0, side - height), (0, side - width), (0, 0)), constant_values=255)


def sheet(
    panels: Sequence[Picture],
    captions: Sequence[str],
    columns: int,
    key: Legend,
    size: int = 0,
) -> Picture:
    """Lay out panels of any width in a grid, each under its caption, all under the legend `key`.

    `size` is that of the text in pixels; 0: to be read where the sheet is shown reduced.
    """
    tallest = max(panel.shape[0] for panel in panels)
    size = size or max(13, tallest // 11)
    line = size + 9
    width = max(panel.shape[1] for panel in panels) + 12
    height = tallest + line + 8
    rows, across = -(-len(panels) // columns), width * min(columns, len(panels))
    page = Image.new("RGB", (across, line + height * rows), "white")
    draw, left, side = ImageDraw.Draw(page), float(_GAP), min(size, max(9, across // 25))
    for color, meaning in key.items():
        draw.rectangle((left, 5, left + side, 5 + side), fill=color)
        draw.text((left + 1.3 * side, 3), meaning, fill="black", font_size=side)
        left += 2.3 * side + draw.textlength(meaning, font_size=side)
    for position, (picture, caption) in enumerate(zip(panels, captions, strict=True)):
        x, y = width * (position % columns) + 6, line + height * (position // columns)
        draw.text((x, y), caption, fill="black", font_size=size)
        page.paste(Image.fromarray(picture), (x, y + line))
    return np.asarray(page)


def progress(
    names: Sequence[str],
    images: Picture,
    masks: Mask,
    predictions: Mapping[int, Mask],
    height: int,
    key: Legend,
) -> Picture:
    """Lay out what the network predicted for K images while it was trained, a row an image.

    `images` are uint8 (K, S, S, 3), the true `masks` bool (K, S, S), `predictions` of an epoch bool
    (K or more, S, S). `height` is that of each picture, in pixels.
    """
    shown = sorted(predictions)
    cells: list[tuple[Picture, str]] = []
    for position, name in enumerate(names):
        image, mask = images[position], masks[position]
        seen = [views(image, mask, predictions[epoch][position], height) for epoch in shown]
        photo, truth, _ = seen[0]
        cells += [(photo, name[-_LONGEST:]), (truth, "truth")]
        cells += [(now, f"epoch {epoch}") for epoch, (*_, now) in zip(shown, seen, strict=True)]
    pictures, captions = zip(*cells, strict=True)
    return sheet(pictures, captions, len(shown) + 2, key)


def curves(
    history: Mapping[str, Sequence[float]], best_epoch: int, baseline_dice: float, noun: str
) -> "Figure":
    """Draw scores and, below them, losses over epochs, to be read at half the size, too.

    MLflow shows about the upper quarter, as of `glance`: all scores are there.

    `history` has a figure an epoch by the tracked names; epochs count from 1.
    """
    from segmentation.utils.figures import Figure, default_style

    with default_style({"font.size": 16, "lines.linewidth": 2.5}):
        figure = Figure(figsize=(7.4, 7.4))
        # By hand: an automatic layout draws everything twice.
        place = {"left": 0.1, "right": 0.98, "bottom": 0.09, "top": 0.98, "hspace": 0.18}
        scores, losses = figure.subplots(2, gridspec_kw={"height_ratios": (1, 3), **place})
        for axes, names in (
            (scores, ("val/dice", "val/iou", "val/accuracy")),
            (losses, ("train/loss", "val/loss")),
        ):
            for name in names:
                axes.plot(range(1, len(history[name]) + 1), history[name], label=name)
            axes.axvline(best_epoch, color="gray", linestyle=":", label=f"best epoch {best_epoch}")
            axes.grid(alpha=0.3)
        scores.axhline(baseline_dice, color="black", linestyle="--", label=f"Dice of 'all {noun}'")
        scores.set_ylim(0, 1)
        losses.set_xlabel("epoch")
        losses.legend(fontsize=14)
        scores.legend(fontsize=10, ncols=3, loc="lower right")
    return figure


def _tint(photo: Picture, where: Mask, color: tuple[int, int, int]) -> Picture:
    """Blend `color` over the pixels `where`."""
    tinted = photo.copy()
    blended = (1 - _STRENGTH) * photo[where] + _STRENGTH * np.array(color)
    tinted[where] = blended.round().astype(np.uint8)
    return tinted
