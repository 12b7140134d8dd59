"""A model and some examples -> the score of each image at its own size."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from segmentation.data.example import Example, Labels
from segmentation.data.images.examples import (
    DecodedExample,
    ExampleError,
    binary_mask,
    decode,
    read_files,
)
from segmentation.errors import DataError
from segmentation.metrics.calibration import Histogram, histogram
from segmentation.metrics.segmentation import Counts, Scores, bootstrap_interval, count, join
from segmentation.models.predictor import BATCH, Model, one_thread_each, workers_for
from segmentation.utils.concurrency import Progress, batched, ignore_progress, prefetch

#: In every score a pixel is called pet where its probability is above this. Predictions use the
#: model's own, see `threshold`.
THRESHOLD = 0.5

_Measured = TypeVar("_Measured")


class ImageResult(NamedTuple):
    """What is kept of a scored image; the histogram is of its probabilities."""

    example: Example
    counts: Counts
    histogram: Histogram


@dataclasses.dataclass(frozen=True)
class ScoredImage:
    """One image, its truth, and what the model says."""

    example: Example
    pixels: DecodedExample  # photo and trimap at the photo's own size, (H, W)
    digest: str  # SHA-256 of the photo's file, hexadecimal
    border: str  # what the trimap's border counts as
    probability: NDArray[np.float32]  # of pet, (H, W) in [0, 1]

    @functools.cached_property
    def truth(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The mask and the pixels that count, uint8 (H, W) in {0, 1} each."""
        return binary_mask(self.pixels.trimap, self.border)

    @functools.cached_property
    def prediction(self) -> NDArray[np.bool_]:
        """The pixels that are called pet, bool (H, W)."""
        return self.probability > THRESHOLD

    @functools.cached_property
    def counts(self) -> Counts:
        return count_pixels(self.prediction, *self.truth)

    @property
    def result(self) -> ImageResult:
        pixels = histogram(self.probability, *self.truth)
        return ImageResult(self.example, self.counts, pixels)


def count_pixels(
    prediction: NDArray[np.bool_], mask: NDArray[np.uint8], valid: NDArray[np.uint8]
) -> Counts:
    """Count the pixels of one image; all (H, W)."""
    return count(*(torch.from_numpy(array)[None, None] for array in (prediction, mask, valid)))


def score_images(
    model: Model,
    examples: Sequence[Example],
    border: str,
    measure: Callable[[ScoredImage], _Measured],
    *,
    progress: Progress = ignore_progress,
) -> tuple[list[_Measured], tuple[str, ...]]:
    """Score examples at their own size; few images are in memory at a time.

    Return what `measure`, which is called in any thread, keeps of each example that can be used, in
    order, and a line for each that cannot. `border` is what the trimap's border counts as.
    """

    def work(batch: Sequence[Example]) -> list[_Measured | str]:
        loaded = [_load(example) for example in batch]
        probabilities = model(one[0].image for one in loaded if not isinstance(one, str))
        return [
            one
            if isinstance(one, str)
            else measure(ScoredImage(example, *one, border, next(probabilities)))
            for example, one in zip(batch, loaded, strict=True)
        ]

    good: list[_Measured] = []
    problems: list[str] = []
    with one_thread_each() as first:
        batches = batched(examples, BATCH)
        for outcomes in prefetch(work, batches, workers_for(model.device), first):
            for outcome in outcomes:
                if isinstance(outcome, str):
                    problems.append(outcome)
                else:
                    good.append(outcome)
            progress(len(good) + len(problems), len(examples))
    return good, tuple(problems)


def _load(example: Example) -> tuple[DecodedExample, str] | str:
    """Return the pixels of an example and its image file's digest, or why it cannot be used."""
    try:
        image, mask = read_files(example)
        return decode(example, image, mask), hashlib.sha256(image).hexdigest()
    except ExampleError as error:
        return str(error)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The scores of N images of a split, with what is needed to believe them."""

    split: str
    examples: tuple[Example, ...]
    counts: Counts  # at each photo's own size
    histograms: tuple[Histogram, ...] = ()  # the pixels of each image by probability

    @classmethod
    def of(cls, split: str, results: Sequence[ImageResult]) -> "Evaluation":
        examples, counts, histograms = zip(*results, strict=True)
        return cls(split=split, examples=examples, counts=join(counts), histograms=histograms)

    @property
    def labels(self) -> Labels:
        """What the masks mean, and show."""
        return self.examples[0].labels

    @functools.cached_property
    def interval(self) -> tuple[float, float]:
        """The 95 % bootstrap interval of the mean Dice over images."""
        return bootstrap_interval(self.counts.dice())  # ten thousand resamples: once

    def metrics(self) -> dict[str, float]:
        """Return what MLflow tracks of a split, such as `gate/dice`; see `analysis.IMAGE_SCORES`.

        The `floor` is what the trivial baselines score.
        """
        all_pet, all_background = self._baselines()
        baselines = {"floor_dice": all_pet.dice, "floor_accuracy": all_background.accuracy}
        found = self._scores() | baselines
        return {f"{self.split}/{name}": value for name, value in found.items()}

    def final_metrics(self, best_epoch: int) -> dict[str, float]:
        """Return what MLflow tracks of a finished training: `best/...` and `floor/...`."""
        found = self._scores() | {
            "dice_pooled": self.counts.pooled().dice,
            "pet_share": self.counts.pet_share(),
            "epoch": best_epoch,
        }
        all_pet, all_background = self._baselines()
        return {f"best/{name}": value for name, value in found.items()} | {
            "floor/dice_all_pet": all_pet.dice,
            "floor/iou_all_pet": all_pet.iou,
            "floor/accuracy_all_pet": all_pet.accuracy,
            "floor/dice_all_background": all_background.dice,
            "floor/accuracy_all_background": all_background.accuracy,
        }

    def above_baselines(self) -> bool:
        """Tell whether Dice and accuracy both beat both trivial baselines on these images."""
        mean = self.counts.mean()
        return all(
            mean.dice > one.dice and mean.accuracy > one.accuracy for one in self._baselines()
        )

    def _scores(self) -> dict[str, float]:
        mean, (low, high) = self.counts.mean(), self.interval
        return {
            "dice": mean.dice,
            "dice_low": low,
            "dice_high": high,
            "iou": mean.iou,
            "accuracy": mean.accuracy,
            "images": float(len(self.counts)),
        }

    def _baselines(self) -> tuple[Scores, Scores]:
        return self.counts.all_pet().mean(), self.counts.all_background().mean()


def evaluate(
    split: str,
    model: Model,
    examples: Sequence[Example],
    border: str,
    draw: Callable[[ScoredImage], None],
) -> Evaluation:
    """Score the images of a split, see `score_images`; `draw` is called with each.

    Raises:
        DataError: some cannot be used any more.
    """

    def measure(image: ScoredImage) -> ImageResult:
        draw(image)
        return image.result

    scored, problems = score_images(model, examples, border, measure)
    if problems:
        raise DataError(f"images of the {split} split cannot be used:", problems)
    return Evaluation.of(split, scored)
