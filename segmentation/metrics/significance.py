"""Which of several trainings is better: paired over images, with the noise of the seeds."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

Floats = NDArray[np.float64]

_FLIPS = 9_999


class Comparison(NamedTuple):
    """The mean Dice of one configuration less that of another on N `images`, and its interval."""

    difference: float
    low: float
    high: float
    images: int

    @property
    def verdict(self) -> str:
        if self.low > 0:
            return "better"
        if self.high < 0:
            return "worse"
        return "within the noise: neither better nor worse as far as these images and seeds tell"


def p_value_of_better(differences: Floats) -> float:
    """Return how probable so good a mean difference is if the first model is not the better one.

    Paired, since the images differ far more from one another than two models do on one image: of
    the differences, how hard an image is cancels out. The larger of two one-sided p-values:

    - By signs: if two models are equal, each image's difference might as well have the other sign
      (R. A. Fisher, "The Design of Experiments", 1935, section 21; E. S. Edgington, "Randomization
      Tests", 1980); 9,999 draws with a fixed seed, what was seen counted among them. That errs no
      more often than it says where differences are symmetric about their mean.
    - By Student's t, modified for skewness (N. J. Johnson, "Modified t Tests and Confidence
      Intervals for Asymmetrical Populations", JASA 73, 1978): for a model that is a little better
      on most images and far worse on a few.

    A failure that no image shows, no test sees: see `promotion_rule.FEWEST`. `differences`, a value
    an image, are the first model's scores less the second's.
    """
    return max(_by_signs(differences), _by_modified_t(differences))


def _by_signs(differences: Floats) -> float:
    generator = np.random.default_rng(0)
    seen = differences.sum()
    as_good = 1
    for _ in range(_FLIPS // 99):  # in parts, so that thousands of images need little memory
        signs = generator.integers(0, 2, (99, len(differences)), dtype=np.int8) * 2 - 1
        # Less a little, so that rounding does not tell apart what is equal.
        as_good += int((signs @ differences >= seen - 1e-12).sum())
    return as_good / (_FLIPS + 1)


def _by_modified_t(differences: Floats) -> float:
    images, mean = len(differences), float(differences.mean())
    variance = float(differences.var(ddof=1)) if images > 1 else 0.0
    if variance < 1e-24:  # all are equal but for rounding, by whose powers is divided below
        return 0.0 if mean > 0 else 1.0
    third = float(((differences - mean) ** 3).mean())
    shifted = mean + third / (6 * variance * images) + third * mean**2 / (3 * variance**2)
    # `stdtr` is Student's distribution function, which is symmetric about 0; scipy.stats has it
    # under a plainer name, but takes a second to import.
    return float(stdtr(images - 1, -shifted / math.sqrt(variance / images)))


class Spread(NamedTuple):
    """The standard deviation of the mean Dice between trainings that differ in their seed alone."""

    value: float
    degrees_of_freedom: int


def compare(first: Floats, second: Floats, between_seeds: Spread, level: float) -> Comparison:
    """Compare two configurations, each trained with some seeds and scored on the same images.

    Two sources of noise are added: other images would have been drawn, and other seeds. The first
    is the variance over images of the paired difference, divided by their number; the second the
    variance between trainings that differ in their seed alone, divided by the number of
    trainings, once for each side. Student's t, its degrees of freedom by F. E. Satterthwaite ("An
    Approximate Distribution of Estimates of Variance Components", Biometrics Bulletin 2, 1946).
    Errs, if at all, to the wide side: the spread between seeds holds a part of the images' noise.

    `first` and `second` are (seeds, images), Dice of each training on each image; `level` is the
    coverage aimed at, in (0, 1).
    """
    paired = first.mean(axis=0) - second.mean(axis=0)
    images = len(paired)
    of_images = float(paired.var(ddof=1)) / images if images > 1 else math.inf
    of_seeds = between_seeds.value**2 * (1 / len(first) + 1 / len(second))
    parts = [(of_images, max(1, images - 1)), (of_seeds, max(1, between_seeds.degrees_of_freedom))]
    variance = sum(part for part, _ in parts)
    difference = float(paired.mean())
    if not math.isfinite(variance) or variance == 0:
        half = 0.0 if variance == 0 else math.inf
    else:
        freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
        half = float(stdtrit(freedom, (1 + level) / 2)) * math.sqrt(variance)
    return Comparison(difference, difference - half, difference + half, images)


def seed_spread(groups: Sequence[Floats]) -> Spread:
    """Find the noise of the seeds, pooled over configurations, of each (seeds, images)."""
    means = [group.mean(axis=1) for group in groups]
    squares = sum(float(((mean - mean.mean()) ** 2).sum()) for mean in means)
    freedom = sum(len(mean) - 1 for mean in means)
    return Spread(value=math.sqrt(squares / max(1, freedom)), degrees_of_freedom=freedom)
