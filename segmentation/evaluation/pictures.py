"""Pictures: photo, truth and prediction side by side; galleries; curves. All return RGB uint8."""

import io
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_Drawing = TypeVar("_Drawing")
_log = logging.getLogger(__name__)

# Okabe and Ito's colors, told apart by people with any kind of color vision.
_HIT = (0, 158, 115)
_FALSE = (213, 94, 0)
_MISSED = (86, 180, 233)
_STRENGTH = 0.55
_ASPECT = 4.0
_MOMENTS = 6
_GAP = 4  # pixels between the pictures of a panel


def try_draw(name: str, draw: Callable[[], _Drawing]) -> _Drawing | None:
    """Return what `draw` draws; where that fails, say so: no work of hours ends for a picture."""
    try:
        return draw()
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "")
        _log.warning("Not drawn: %s (%s: %s)", name, type(error).__name__, reason)
        return None


def panel(image: Picture, mask: Mask, prediction: Mask, height: int) -> Picture:
    """Put photo, truth and prediction side by side.

    In the third picture green is pet found, orange background called pet, blue pet missed.

    Args:
        image: uint8 (H, W, 3), RGB.
        mask: bool (H, W), the truth.
        prediction: bool (H, W).
        height: of the result, in pixels; the aspect ratio is kept where it is below 4.

    Returns:
        uint8 (height, about 3 W height / H, 3).
    """
    aspect = min(max(image.shape[1] / image.shape[0], 1 / _ASPECT), _ASPECT)
    width = max(1, round(height * aspect))
    size = (width, height)
    photo = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    truth, found = (
        np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST), dtype=bool)
        for pixels in (mask, prediction)
    )
    outcome = photo
    for pixels, color in (
        (truth & found, _HIT),
        (~truth & found, _FALSE),
        (truth & ~found, _MISSED),
    ):
        outcome = _tint(outcome, pixels, color)
    gap = np.full((height, _GAP, 3), 255, np.uint8)
    return np.concatenate([photo, gap, _tint(photo, truth, _HIT), gap, outcome], axis=1)


def overlay(image: Picture, prediction: Mask) -> Picture:
    """Lay a prediction, bool (H, W), over its photo, uint8 (H, W, 3), in green."""
    return _tint(image, prediction, _HIT)


def encode(picture: Picture, form: str, **options: int) -> bytes:
    """Return a picture as a file in a format such as `JPEG`, with options of that format."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, form, **options)
    return stream.getvalue()


def sheet(panels: Sequence[Picture], captions: Sequence[str], columns: int) -> Picture:
    """Lay out panels of any width in a grid, each under its caption."""
    tallest = max(panel.shape[0] for panel in panels)
    size = max(13, tallest // 11)  # the sheet will be looked at reduced
    width = max(panel.shape[1] for panel in panels) + 12
    height = tallest + size + 17
    rows = -(-len(panels) // columns)
    page = Image.new("RGB", (width * min(columns, len(panels)), height * rows), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size)
    for position, (picture, caption) in enumerate(zip(panels, captions, strict=True)):
        left, top = width * (position % columns) + 6, height * (position // columns) + 4
        draw.text((left, top), caption, fill="black", font=font)
        page.paste(Image.fromarray(picture), (left, top + size + 5))
    return np.asarray(page)


def progress(moments: Mapping[int, Sequence[Picture]], names: Sequence[str]) -> Picture:
    """Lay out what the network predicted for some images while it was trained, a row an image.

    Args:
        moments: square panels (see `panel`), one of each image, by epoch.
        names: of the images.
    """
    epochs = sorted(moments)
    # Of many only some, evenly spread: the sheet is looked at in the width of a page.
    shown = [epochs[round(i)] for i in np.linspace(0, len(epochs) - 1, min(_MOMENTS, len(epochs)))]
    cells, captions = [], []
    for row, name in enumerate(names):
        first = moments[epochs[0]][row]
        side = first.shape[0]
        cells += [first[:, :side], first[:, side + _GAP : 2 * side + _GAP]]
        cells += [moments[epoch][row][:, -side:] for epoch in shown]
        captions += [name, "truth", *(f"epoch {epoch}" for epoch in shown)]
    return sheet(cells, captions, 2 + len(shown))


def curves(
    history: Mapping[str, Sequence[float]], best_epoch: int, baseline_dice: float
) -> "Figure":
    """Draw losses and scores over epochs.

    Args:
        history: a figure an epoch for `train/loss`, `val/loss`, `val/dice`, `val/iou` and
            `val/accuracy`.
        best_epoch: marked, counted from 1.
        baseline_dice: Dice of answering `pet` everywhere, drawn as a line.
    """
    from segmentation.utils.figures import Figure

    figure = Figure(figsize=(11, 4))
    # By hand: an automatic layout draws everything twice.
    losses, scores = figure.subplots(
        1, 2, gridspec_kw={"left": 0.05, "right": 0.98, "bottom": 0.12, "top": 0.92}
    )
    for axes, names in (
        (losses, ("train/loss", "val/loss")),
        (scores, ("val/dice", "val/iou", "val/accuracy")),
    ):
        for name in names:
            axes.plot(range(1, len(history[name]) + 1), history[name], label=name)
        axes.axvline(best_epoch, color="gray", linestyle=":", label=f"best epoch {best_epoch}")
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
    scores.axhline(baseline_dice, color="black", linestyle="--", label="Dice of 'all pet'")
    scores.set_ylim(0, 1)
    scores.set_title("validation scores")
    losses.set_title("loss")
    for axes in (losses, scores):
        axes.legend()
    return figure


def _tint(photo: Picture, where: Mask, color: tuple[int, int, int]) -> Picture:
    """Blend `color` over the pixels `where`."""
    tinted = photo.copy()
    blended = (1 - _STRENGTH) * photo[where] + _STRENGTH * np.array(color)
    tinted[where] = blended.round().astype(np.uint8)
    return tinted
