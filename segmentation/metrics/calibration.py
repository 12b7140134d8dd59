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

from segmentation.metrics.segmentation import Counts

_FINE = 100
_COARSE = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Histogram:
    """The pixels of one image that count, by probability: bin i holds (i / 100, (i + 1) / 100].

    Attributes:
        pet, background: int64 (100,), how many pixels of either kind.
        total: float64 (100,), the sum of their probabilities.
    """

    pet: NDArray[np.int64]
    background: NDArray[np.int64]
    total: NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bin:
    """Pixels of several images whose probability lies in a tenth, from `low` on.

    Attributes:
        probability: their mean probability of pet, in [0, 1].
        share: the share of them that is pet, in [0, 1].
    """

    low: float
    pixels: int
    probability: float
    share: float


def histogram(
    probability: NDArray[np.float32], mask: NDArray[np.uint8], valid: NDArray[np.uint8]
) -> Histogram:
    """Sort the pixels of an image, (H, W), by probability; where `valid` is 0, none counts."""
    counted = valid.ravel() == 1
    values = probability.ravel()[counted]
    pet = mask.ravel()[counted] == 1
    bins = np.clip(np.ceil(values * _FINE).astype(np.intp) - 1, 0, _FINE - 1)
    return Histogram(
        pet=np.bincount(bins[pet], minlength=_FINE),
        background=np.bincount(bins[~pet], minlength=_FINE),
        total=np.bincount(bins, weights=values, minlength=_FINE).astype(np.float64),
    )


def threshold_curve(histograms: Sequence[Histogram]) -> dict[float, float]:
    """Return the mean Dice over images for the thresholds 0.05, 0.10, ..., 0.95."""
    pet = np.stack([one.pet for one in histograms])
    background = np.stack([one.background for one in histograms])
    curve = {}
    for step in range(5, _FINE, 5):
        counts = Counts(
            tp=pet[:, step:].sum(axis=1),
            fp=background[:, step:].sum(axis=1),
            fn=pet[:, :step].sum(axis=1),
            tn=background[:, :step].sum(axis=1),
        )
        curve[step / _FINE] = counts.mean().dice
    return curve


def reliability(histograms: Sequence[Histogram]) -> list[Bin]:
    """Sort the pixels of all images into ten bins; empty ones are left out."""
    pet, background, total = (
        np.sum([getattr(one, name) for one in histograms], axis=0).reshape(_COARSE, -1).sum(axis=1)
        for name in ("pet", "background", "total")
    )
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
