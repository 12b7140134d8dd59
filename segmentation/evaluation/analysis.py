"""Everything that `evaluate` finds out about a model on one split."""

import dataclasses
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from segmentation.data.images.examples import binary_mask
from segmentation.data.oxford_pets import Example
from segmentation.errors import DataError
from segmentation.evaluation.scoring import (
    THRESHOLD,
    Evaluation,
    Pictures,
    ScoredImage,
    counts_of,
    score_images,
)
from segmentation.metrics.boundary import boundary_f
from segmentation.metrics.calibration import (
    Bin,
    Histogram,
    calibration_error,
    histogram,
    reliability,
    threshold_curve,
)
from segmentation.metrics.segmentation import Counts, Floats, bootstrap_interval, join
from segmentation.models.predictor import Model
from segmentation.utils.concurrency import Progress

BORDERS = ("pet", "background", "ignore")

_Drawn = TypeVar("_Drawn")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageAnalysis(Generic[_Drawn]):
    """What is known of one image.

    Attributes:
        example: which one.
        digest: SHA-256 of its file, hexadecimal.
        counts: pixel counts for each meaning of the border.
        histogram: its pixels by probability, for the meaning that was asked for.
        boundary: its boundary F-score, in [0, 1], for that meaning (`ignore`: as `pet`).
        drawn: its pictures.
    """

    example: Example
    digest: str
    counts: dict[str, Counts]
    histogram: Histogram
    boundary: float
    drawn: _Drawn


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slice:
    """The images of one species or breed.

    Attributes:
        kind: `species` or `breed`.
        name: which one.
        images: how many.
        dice, iou, accuracy: means over them.
        interval: the 95 % bootstrap interval of the mean Dice; None for fewer than 5 images.
        floor: mean Dice of answering `pet` everywhere.
    """

    kind: str
    name: str
    images: int
    dice: float
    iou: float
    accuracy: float
    interval: tuple[float, float] | None
    baseline: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Analysis:
    """What a model does on the images of one split, each at its own size.

    Attributes:
        split: which.
        border: what the trimap's border counts as, where nothing else is said.
        examples: N of them.
        digests: SHA-256 of each one's file.
        counts: pixel counts of the N images for each meaning of the border.
        histograms, boundary: of each image.
        problems: a line for each example that cannot be used.
    """

    split: str
    border: str
    examples: tuple[Example, ...]
    digests: tuple[str, ...]
    counts: dict[str, Counts]
    histograms: tuple[Histogram, ...]
    boundary: Floats
    problems: tuple[str, ...]

    @cached_property
    def evaluation(self) -> Evaluation:
        """The scores for the meaning of the border that was asked for."""
        return self.by_border[self.border]

    @cached_property
    def by_border(self) -> dict[str, Evaluation]:
        """The scores for each meaning of the border."""
        return {
            border: Evaluation(split=self.split, examples=self.examples, counts=counts)
            for border, counts in self.counts.items()
        }

    @cached_property
    def slices(self) -> tuple[Slice, ...]:
        """The species, then the breeds, each in alphabetical order."""
        found = []
        for kind in ("species", "breed"):
            names = np.array([getattr(example, kind) for example in self.examples])
            found += [_slice(kind, name, self._part(names == name)) for name in np.unique(names)]
        return tuple(found)

    @cached_property
    def curve(self) -> dict[float, float]:
        """Mean Dice by threshold."""
        return threshold_curve(self.histograms)

    @cached_property
    def best_threshold(self) -> float:
        """The threshold with the highest mean Dice; of equals the one nearest to 0.5."""
        return max(self.curve, key=lambda one: (self.curve[one], -abs(one - THRESHOLD)))

    @cached_property
    def bins(self) -> list[Bin]:
        """The pixels in ten bins of probability."""
        return reliability(self.histograms)

    @cached_property
    def calibration_error(self) -> float:
        """The expected calibration error, in [0, 1]."""
        return calibration_error(self.bins)

    @cached_property
    def boundary_interval(self) -> tuple[float, float]:
        """The 95 % bootstrap interval of the mean boundary F-score."""
        return bootstrap_interval(self.boundary)

    def _part(self, chosen: NDArray[np.bool_]) -> Counts:
        counts = self.counts[self.border]
        return Counts(
            **{
                field.name: getattr(counts, field.name)[chosen]
                for field in dataclasses.fields(counts)
            }
        )


def analyze(
    split: str,
    model: Model,
    examples: Sequence[Example],
    border: str,
    pictures: Pictures[_Drawn],
    progress: Progress,
) -> Analysis:
    """Judge a model on some examples, in every way.

    Args:
        split: which examples these are.
        model: gives the probabilities.
        examples: which ones.
        border: what the trimap's border counts as.
        pictures: collects pictures of them.
        progress: told how many are done.

    Raises:
        DataError: none can be used.
    """

    def measure(judged: ScoredImage) -> ImageAnalysis[_Drawn]:
        return _examined(judged, border, pictures.draw(judged))

    good: list[ImageAnalysis[None]] = []
    problems = []
    for done, one in enumerate(score_images(model, examples, border, measure), 1):
        if isinstance(one, str):
            problems.append(one)
        else:
            pictures.add(one.drawn)
            good.append(ImageAnalysis(**{**vars(one), "drawn": None}))  # pictures are large
        progress(done, len(examples))
    if not good:
        raise DataError(f"no image of the {split} split can be used:", problems)
    return _gathered(split, border, good, problems)


def _examined(judged: ScoredImage, border: str, drawn: _Drawn) -> ImageAnalysis[_Drawn]:
    said = judged.probability > THRESHOLD
    solid, _ = binary_mask(judged.trimap, "background" if border == "background" else "pet")
    return ImageAnalysis(
        example=judged.example,
        digest=judged.digest(),
        counts={
            meaning: counts_of(said, *binary_mask(judged.trimap, meaning)) for meaning in BORDERS
        },
        histogram=histogram(judged.probability, judged.mask, judged.valid),
        boundary=boundary_f(solid == 1, said),
        drawn=drawn,
    )


def _gathered(
    split: str, border: str, good: Sequence[ImageAnalysis[None]], problems: Iterable[str]
) -> Analysis:
    return Analysis(
        split=split,
        border=border,
        examples=tuple(one.example for one in good),
        digests=tuple(one.digest for one in good),
        counts={meaning: join([one.counts[meaning] for one in good]) for meaning in BORDERS},
        histograms=tuple(one.histogram for one in good),
        boundary=np.array([one.boundary for one in good]),
        problems=tuple(problems),
    )


def _slice(kind: str, name: str, counts: Counts) -> Slice:
    mean = counts.mean()
    return Slice(
        kind=kind,
        name=str(name),
        images=len(counts),
        dice=mean.dice,
        iou=mean.iou,
        accuracy=mean.accuracy,
        interval=bootstrap_interval(counts.dice()) if len(counts) >= 5 else None,
        baseline=counts.all_pet().mean().dice,
    )
