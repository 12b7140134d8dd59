"""Pictures of scored images: thumbnails for a table, the worst dozen, a random dozen."""

import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from segmentation.data.example import Example
from segmentation.evaluation.pictures import Picture, encode, legend, panel, sheet
from segmentation.evaluation.scoring import ScoredImage

_THUMBNAIL_HEIGHT, _PANEL_HEIGHT = 96, 224
_DOZEN = 12
#: Thumbnails of so many images, the worst; MLflow keeps two files for each.
MOST_THUMBNAILS = 300


class _Drawing(NamedTuple):
    """One image at one size, see `pictures.panel`."""

    dice: float
    id: str
    caption: str
    picture: Picture
    noun: str


class Gallery:
    """Collects pictures of scored images, of no more than it will show.

    Of the same `examples` the random dozen is always the same; of none there is none.
    """

    def __init__(self, examples: Sequence[Example] = (), *, thumbnails: bool = True) -> None:
        names = sorted(example.id for example in examples)
        lots = np.random.default_rng(0).permutation(len(names))
        self._lots = dict(zip(names, lots.tolist(), strict=True))
        self._with_thumbnails, self._lock = thumbnails, threading.Lock()
        self._thumbnails: list[_Drawing] = []
        self._worst: list[_Drawing] = []
        self._random: list[_Drawing] = []
        self._trouble: Exception | None = None

    def draw(self, image: ScoredImage) -> None:
        """Draw one image, large and, if wanted, small; may be called in any thread.

        Where that fails, who asks for the pictures learns why: no score is lost for them.
        """
        try:
            self._add(image)
        except Exception as error:
            self._trouble = error.with_traceback(None)  # which holds pixels

    def _add(self, image: ScoredImage) -> None:
        name, scores, noun = image.example.id, image.counts.mean(), image.example.labels.noun
        pixels = image.pixels.image, image.truth[0] == 1, image.prediction
        caption = (
            f"{name}   Dice {scores.dice:.3f}, IoU {scores.iou:.3f}, accuracy {scores.accuracy:.3f}"
        )
        heights = [_PANEL_HEIGHT, _THUMBNAIL_HEIGHT] if self._with_thumbnails else [_PANEL_HEIGHT]
        large, *small = (
            _Drawing(scores.dice, name, caption, panel(*pixels, height), noun) for height in heights
        )
        with self._lock:
            self._worst = _worst([*self._worst, large], _DOZEN)
            self._thumbnails = _worst([*self._thumbnails, *small], MOST_THUMBNAILS)
            if self._lots:
                lots = [*self._random, large]
                self._random = sorted(lots, key=lambda one: self._lots[one.id])[:_DOZEN]

    @property
    def thumbnails(self) -> dict[str, Picture]:
        """By the image's id; of the worst, where there are many."""
        return {one.id: one.picture for one in self._all_of(self._thumbnails)}

    def worst(self) -> Picture:
        return _sheet(self._all_of(self._worst))

    def random(self) -> Picture:
        return _sheet(self._all_of(self._random))

    def files(self) -> dict[str, bytes]:
        """Return both dozens as JPEG files by their names."""
        drawn = {"worst.jpg": self.worst(), "random.jpg": self.random()}
        return {name: encode(one, "JPEG", quality=88) for name, one in drawn.items()}

    def _all_of(self, drawings: list[_Drawing]) -> list[_Drawing]:
        if self._trouble:
            raise self._trouble
        return drawings


def _worst(drawings: list[_Drawing], number: int) -> list[_Drawing]:
    """Return those with the lowest Dice, the lowest first; of equals by their names."""
    return sorted(drawings, key=lambda one: (one.dice, one.id))[:number]


def _sheet(drawings: list[_Drawing]) -> Picture:
    pictures, captions = [one.picture for one in drawings], [one.caption for one in drawings]
    return sheet(pictures, captions, 2, legend(drawings[0].noun))
