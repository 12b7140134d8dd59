"""What probabilities are worth: Dice over thresholds, and whether 0.8 means 80 %.

Calibration is measured as in C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern
Neural Networks", ICML 2017: pixels are sorted into ten bins by their probability of pet; the
expected calibration error is the mean over pixels of the distance between a bin's mean probability
and its share of pet.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segmentation.metrics.segmentation import Counts, Floats

_FINE = 100
_COARSE = 10

#: The pixels of one image that count, float64 (3, 100): how many are pet, how many background, and
#: the sum of their probabilities, by probability: bin i holds (i / 100, (i + 1) / 100].
Histogram = Floats


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bin:
    """Pixels of several images whose probability lies in a tenth, from `low` on."""

    low: float
    pixels: int
    probability: float  # the mean of theirs, in [0, 1]
    share: float  # of them that is pet, in [0, 1]


def histogram(
    probability: NDArray[np.float32], mask: NDArray[np.uint8], valid: NDArray[np.uint8]
) -> Histogram:
    """Sort the pixels of an image, (H, W), by probability; where `valid` is 0, none counts."""
    counted = valid.ravel() == 1
    values = probability.ravel()[counted]
    pet = mask.ravel()[counted] == 1
    bins = np.clip(np.ceil(values * _FINE).astype(np.intp) - 1, 0, _FINE - 1)
    weights = pet, ~pet, values
    return np.stack([np.bincount(bins, weights=one, minlength=_FINE) for one in weights])


def dice_at(threshold: float, histograms: Sequence[Histogram]) -> Floats:
    """Return Dice of each image, the pixels above a threshold, in whole hundredths, called pet."""
    pet, background, _ = np.stack(histograms, axis=1).astype(np.int64)
    step = round(threshold * _FINE)
    return Counts(
        tp=pet[:, step:].sum(axis=1),
        fp=background[:, step:].sum(axis=1),
        fn=pet[:, :step].sum(axis=1),
        tn=background[:, :step].sum(axis=1),
    ).dice()


def threshold_curve(histograms: Sequence[Histogram]) -> dict[float, float]:
    """Return the mean Dice over images for the thresholds 0.05, 0.10, ..., 0.95."""
    steps = [step / _FINE for step in range(5, _FINE, 5)]
    return {one: float(dice_at(one, histograms).mean()) for one in steps}


def reliability(histograms: Sequence[Histogram]) -> list[Bin]:
    """Sort the pixels of all images into ten bins; empty ones are left out."""
    pet, background, total = np.sum(histograms, axis=0).reshape(3, _COARSE, -1).sum(axis=2)
    pixels = pet + background
    return [
        Bin(
            low=tenth / _COARSE,
            pixels=int(pixels[tenth]),
            probability=float(total[tenth] / pixels[tenth]),
            share=float(pet[tenth] / pixels[tenth]),
        )
        for tenth in np.flatnonzero(pixels).tolist()
    ]


def calibration_error(bins: Sequence[Bin]) -> float:
    """Return the expected calibration error, in [0, 1]."""
    pixels = sum(one.pixels for one in bins)
    return sum(one.pixels * abs(one.probability - one.share) for one in bins) / pixels
