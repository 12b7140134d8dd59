"""Pictures of judged images: a table with thumbnails, the worst dozen, a random dozen."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from segmentation.evaluation.figures import Picture, gallery, panel
from segmentation.evaluation.scoring import Evaluation, ScoredImage
from segmentation.metrics.segmentation import Floats
from segmentation.tracking.logging.run_logger import RunLogger, png_of

_TABLE_HEIGHT, _GALLERY_HEIGHT = 96, 224
_DOZEN = 12
_THUMBNAILS = "photo, truth, prediction"
#: Of so many images, the worst, the table has a row; MLflow keeps two files for each thumbnail.
ROWS = 300


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawn:
    """The pictures of one judged image, see `figures.panel`.

    Attributes:
        id: the example's.
        dice: its score.
        caption: its name and scores.
        small, large: the panel in two sizes; `small` may be missing.
    """

    id: str
    dice: float
    caption: str
    small: Picture | None
    large: Picture


class Gallery:
    """Collects pictures of judged images, of as many as it will show."""

    def __init__(self, *, thumbnails: bool = True, lots: Mapping[str, int] | None = None) -> None:
        """Hold nothing yet.

        Args:
            thumbnails: whether the table is to have pictures.
            lots: a number for each image, by its id; the dozen with the lowest is shown, whatever
                their score.
        """
        self._with_thumbnails, self._lots = thumbnails, lots or {}
        self._thumbnails: list[Drawn] = []
        self._worst: list[Drawn] = []
        self._random: list[Drawn] = []

    def draw(self, judged: ScoredImage) -> Drawn:
        """Draw one image; may be called in any thread."""
        pixels = judged.pixels.image, judged.truth[0] == 1, judged.prediction
        scores = judged.counts.mean()
        return Drawn(
            id=judged.example.id,
            dice=scores.dice,
            caption=f"{judged.example.id}   Dice {scores.dice:.3f}, IoU {scores.iou:.3f}, "
            f"accuracy {scores.accuracy:.3f}",
            small=panel(*pixels, _TABLE_HEIGHT) if self._with_thumbnails else None,
            large=panel(*pixels, _GALLERY_HEIGHT),
        )

    def add(self, drawn: Drawn) -> None:
        """Take in one image; in order."""
        if self._lots:
            by_lot = sorted([*self._random, drawn], key=lambda one: self._lots[one.id])
            self._random = by_lot[:_DOZEN]
        self._worst = _lowest([*self._worst, drawn], _DOZEN)
        if drawn.small is not None:
            without = dataclasses.replace(drawn, large=drawn.small)  # the large one is large
            self._thumbnails.append(without)
            if len(self._thumbnails) > 2 * ROWS:
                self._thumbnails = _lowest(self._thumbnails, ROWS)

    def worst(self) -> Picture:
        """Return the worst dozen as one picture, worst first."""
        return _sheet(self._worst)

    def chosen(self) -> Picture:
        """Return the chosen ones as one picture."""
        return _sheet(self._random)

    def log(
        self, run: RunLogger, evaluation: Evaluation, more: Mapping[str, Floats] | None = None
    ) -> None:
        """Log `SPLIT/images.json`, a row an image, and `SPLIT/worst.jpg`.

        Args:
            run: where to.
            evaluation: the scores of the images that were added, in the same order.
            more: further columns, a value an image.
        """
        shown, columns = self.table(evaluation, more or {})
        images = {_THUMBNAILS: [png_of(one) for one in shown]} if shown else {}
        run.log_table(columns, f"{evaluation.split}/images.json", images)
        run.log_image(self.worst(), f"{evaluation.split}/worst.jpg")

    def table(
        self, evaluation: Evaluation, more: Mapping[str, Floats]
    ) -> tuple[list[Picture], dict[str, list[Any]]]:
        """Return the thumbnails, if any, and the columns of the table; see `log`."""
        counts = evaluation.counts
        dice = counts.dice()
        order = np.arange(len(counts))
        if len(counts) > ROWS:  # in the order of the thumbnails: the worst first
            order = np.argsort(dice, kind="stable")[:ROWS]
        small = {one.id: one.large for one in self._thumbnails}
        examples = [evaluation.examples[position] for position in order]
        columns: dict[str, Any] = {
            "id": [example.id for example in examples],
            "species": [example.species for example in examples],
            "breed": [example.breed for example in examples],
            "dice": dice[order].round(4).tolist(),
            "iou": counts.iou()[order].round(4).tolist(),
            "accuracy": counts.accuracy()[order].round(4).tolist(),
            "dice_all_pet": counts.all_pet().dice()[order].round(4).tolist(),
            **{name: value[order].round(4).tolist() for name, value in more.items()},
        }
        return [small[example.id] for example in examples if small], columns


def _lowest(drawn: list[Drawn], number: int) -> list[Drawn]:
    """Return those with the lowest Dice, the lowest first; of equals the earlier."""
    return sorted(drawn, key=lambda one: one.dice)[:number]


def _sheet(drawn: list[Drawn]) -> Picture:
    return gallery([one.large for one in drawn], [one.caption for one in drawn], 2)
