"""Pixel counts first, then the score of each image, then the mean over images.

With true positives TP, false positives FP, false negatives FN and true negatives TN of one image,
pet being positive: Dice = 2 TP / (2 TP + FP + FN) (L. R. Dice, "Measures of the amount of ecologic
association between species", Ecology 26, 1945), IoU = TP / (TP + FP + FN) (Jaccard), pixel
accuracy = (TP + TN) / (TP + FP + FN + TN). Where neither mask nor prediction has a pet pixel, Dice
and IoU are 1: nothing was to be found and nothing was. Where one of them has, both are 0. An image
without a single pixel that counts scores 1 throughout.

A pooled score puts the sums of the counts over all images into the same formula, so large pets
weigh more. A score is only worth what it adds to the trivial baselines: what answering 'pet'
everywhere, or 'background' everywhere, scores on the very same images.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_RESAMPLES, _LEVEL = 10_000, 0.95

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of one image or means over several, each in [0, 1]."""

    dice: float
    iou: float
    accuracy: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counts:
    """Pixel counts of N images, int64 (N,) each."""

    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    fn: NDArray[np.int64]
    tn: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.tp)

    def take(self, chosen: NDArray[np.bool_]) -> "Counts":
        """Return the counts of some of the images; `chosen` is bool (N,)."""
        return self._map(lambda counts: counts[chosen])

    def dice(self) -> Floats:
        """Return Dice of each image, float64 (N,) in [0, 1]."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    def iou(self) -> Floats:
        """Return intersection over union of each image, float64 (N,) in [0, 1]."""
        return _ratio(self.tp, self.tp + self.fp + self.fn)

    def accuracy(self) -> Floats:
        """Return the share of right pixels in each image, float64 (N,) in [0, 1]."""
        return _ratio(self.tp + self.tn, self.tp + self.fp + self.fn + self.tn)

    def mean(self) -> Scores:
        return Scores(
            dice=float(self.dice().mean()),
            iou=float(self.iou().mean()),
            accuracy=float(self.accuracy().mean()),
        )

    def pooled(self) -> Scores:
        """Return the scores of the counts summed over all images."""
        return self._map(lambda counts: counts.sum(keepdims=True)).mean()

    def all_pet(self) -> "Counts":
        """Return the counts that answering `pet` everywhere gives on the same masks."""
        nothing = np.zeros_like(self.tp)
        return Counts(tp=self.tp + self.fn, fp=self.fp + self.tn, fn=nothing, tn=nothing)

    def all_background(self) -> "Counts":
        """Return the counts that answering `background` everywhere gives on the same masks."""
        nothing = np.zeros_like(self.tp)
        return Counts(tp=nothing, fp=nothing, fn=self.tp + self.fn, tn=self.fp + self.tn)

    def pet_share(self) -> float:
        """Return the share of pet among all pixels that count, in [0, 1]."""
        pet = int((self.tp + self.fn).sum())
        return pet / max(1, pet + int((self.fp + self.tn).sum()))

    def _map(self, change: Callable[[NDArray[np.int64]], NDArray[np.int64]]) -> "Counts":
        return Counts(**{name: change(counts) for name, counts in vars(self).items()})


def count(prediction: Tensor, mask: Tensor, valid: Tensor) -> Counts:
    """Count pixels of each image, from the predicted pet and the true one, (N, 1, H, W).

    Where `valid`, (N, 1, H, W) in {0, 1}, is 0, a pixel does not count.
    """
    pet, counted = mask.bool(), valid.bool()

    def total(pixels: Tensor) -> NDArray[np.int64]:
        return np.asarray((pixels & counted).sum(dim=(1, 2, 3)).cpu().numpy(), dtype=np.int64)

    return Counts(
        tp=total(prediction & pet),
        fp=total(prediction & ~pet),
        fn=total(~prediction & pet),
        tn=total(~prediction & ~pet),
    )


def join(parts: Sequence[Counts]) -> Counts:
    """Concatenate the counts of several batches."""
    names = [field.name for field in dataclasses.fields(Counts)]
    return Counts(**{n: np.concatenate([getattr(part, n) for part in parts]) for n in names})


def bootstrap_interval(values: Floats) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the mean over images.

    B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3; 10,000
    resamples with a fixed seed. It speaks of other images of the same kind, not of other
    trainings, and for few images (20) it is rather too narrow.
    """
    generator = np.random.default_rng(0)
    size = (_RESAMPLES // 100, len(values))
    # In a hundred parts, so that thousands of images need little memory.
    means = [generator.choice(values, size).mean(axis=1) for _ in range(100)]
    low, high = np.quantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)


def soft_dice_losses(logits: Tensor, mask: Tensor, valid: Tensor) -> Tensor:
    """Return one minus the Dice of probabilities, of each image: (N,), in [0, 1].

    F. Milletari, N. Navab, S.-A. Ahmadi, "V-Net", 3DV 2016, with plain sums in the denominator and
    1 added above and below, so that an empty mask has a gradient. All are float (N, 1, H, W); mask
    and `valid` in {0, 1}, and pixels that are not valid do not count.
    """
    probabilities = torch.sigmoid(logits) * valid
    overlap = (probabilities * mask).sum(dim=(1, 2, 3))
    total = probabilities.sum(dim=(1, 2, 3)) + (mask * valid).sum(dim=(1, 2, 3))
    return 1 - (2 * overlap + 1) / (total + 1)


def _ratio(above: NDArray[np.int64], below: NDArray[np.int64]) -> Floats:
    """Divide, giving 1 where both are 0."""
    return np.where(below == 0, 1.0, above / np.maximum(below, 1))
