"""Everything that `evaluate` finds out about a model on one split."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from segmentation.data.example import Example, Labels
from segmentation.data.images.examples import binary_mask
from segmentation.errors import DataError
from segmentation.evaluation.scoring import (
    Evaluation,
    ImageResult,
    ScoredImage,
    count_pixels,
    score_images,
)
from segmentation.evaluation.threshold import best_threshold
from segmentation.metrics.boundary import TOLERANCE, boundary_f
from segmentation.metrics.calibration import (
    Bin,
    Histogram,
    calibration_error,
    reliability,
    threshold_curve,
)
from segmentation.metrics.segmentation import Counts, Floats, Scores, bootstrap_interval, join
from segmentation.models.predictor import Model
from segmentation.utils.concurrency import Progress

BORDERS = ("pet", "background", "ignore")
#: Fewer images have no interval: a bootstrap of so few says nothing.
FEWEST_FOR_INTERVAL = 5


@dataclasses.dataclass(frozen=True)
class ImageScore:
    """A score of single images, in [0, 1]; the report calls it by its title, and adds the note."""

    title: str
    measure: Callable[[ScoredImage], float]
    note: str = ""


def _boundary(image: ScoredImage) -> float:
    mask, valid = image.truth
    # With the border ignored, the true outline is the border's outer edge.
    return boundary_f((mask == 1) | (valid == 0), image.prediction)


#: The scores of images, by name. **To add a metric, add it here:** MLflow then tracks its mean as
#: `SPLIT/NAME` (see `Analysis.metrics`), the report shows the mean at its top and has a column in
#: the table of every image, and so have `images.csv` and `images.json`. Define it in words in
#: `report/templates/report.html.jinja`. What trainings and the contest on the gate track is in
#: `scoring.Evaluation`. `image.counts` are of one image, so a mean over them is that image's score.
IMAGE_SCORES = {
    "dice": ImageScore("Dice", lambda image: image.counts.mean().dice),
    "iou": ImageScore("IoU", lambda image: image.counts.mean().iou),
    "accuracy": ImageScore("Accuracy", lambda image: image.counts.mean().accuracy),
    "boundary_f": ImageScore(
        "Boundary F", _boundary, f"within {TOLERANCE * 100:g} % of the diagonal"
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slice:
    """The images of one species, breed, class or group."""

    name: str
    species: str
    counts: Counts

    @cached_property
    def mean(self) -> Scores:
        return self.counts.mean()

    @cached_property
    def baseline(self) -> float:
        """Mean Dice of answering `pet` everywhere."""
        return self.counts.all_pet().mean().dice

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % bootstrap interval of the mean Dice; None for too few images."""
        enough = len(self.counts) >= FEWEST_FOR_INTERVAL
        return bootstrap_interval(self.counts.dice()) if enough else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Analysis:
    """What a model does on the N images of one split, each at its own size."""

    split: str
    border: str  # what the trimap's border counts as, where nothing else is said
    examples: tuple[Example, ...]
    digests: tuple[str, ...]  # SHA-256 of each one's file, hexadecimal
    scores: dict[str, Floats]  # of each image, by the names of `IMAGE_SCORES`
    by_border: dict[str, Evaluation]  # for each meaning of the border; of own masks one
    histograms: tuple[Histogram, ...]  # the pixels of each image by probability
    problems: tuple[str, ...]  # a line for each example that cannot be used

    @property
    def evaluation(self) -> Evaluation:
        """The scores for the meaning of the border that was asked for."""
        return self.by_border[self.border]

    @property
    def labels(self) -> Labels:
        """What the masks mean, and show."""
        return self.examples[0].labels

    @cached_property
    def species(self) -> list[Slice]:
        """In alphabetical order; none of own images."""
        return self._slices("species")

    @cached_property
    def kinds(self) -> list[Slice]:
        """Breeds, classes or groups, the lowest Dice first; none where there are none."""
        return sorted(self._slices("kind"), key=lambda one: one.mean.dice)

    @cached_property
    def curve(self) -> dict[float, float]:
        """Mean Dice by threshold."""
        return threshold_curve(self.histograms)

    @cached_property
    def best_threshold(self) -> float:
        return best_threshold(self.curve)

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
        return bootstrap_interval(self.scores["boundary_f"])

    def metrics(self) -> dict[str, float]:
        """Return all figures that MLflow tracks, by names such as `test/dice`."""
        counts = self.evaluation.counts
        pooled = counts.pooled()
        found = {name: float(values.mean()) for name, values in self.scores.items()} | {
            "dice_pooled": pooled.dice,
            "iou_pooled": pooled.iou,
            "accuracy_pooled": pooled.accuracy,
            "pet_share": counts.pet_share(),
            "calibration_error": self.calibration_error,
            "best_threshold": self.best_threshold,
        }
        for border, other in self.by_border.items() if self.labels.trimap else ():
            found[f"dice_border_{border}"] = other.counts.mean().dice
        for one in self.species:
            found[f"dice_{one.name}"] = one.mean.dice
            found[f"images_{one.name}"] = float(len(one.counts))
        return self.evaluation.metrics() | {
            f"{self.split}/{name}": of for name, of in found.items()
        }

    def _slices(self, kind: str) -> list[Slice]:
        """Return a slice for each species or kind that there is, in alphabetical order."""
        names = np.array([getattr(example, kind) for example in self.examples])
        species = dict(zip(names, (example.species for example in self.examples), strict=True))
        counts = self.evaluation.counts
        return [
            Slice(name=str(name), species=species[name], counts=counts.take(names == name))
            for name in np.unique(names)
            if name
        ]


def analyze(
    split: str,
    model: Model,
    examples: Sequence[Example],
    border: str,
    draw: Callable[[ScoredImage], None],
    progress: Progress,
) -> Analysis:
    """Score a model on some examples, in every way; the arguments are those of `evaluate`.

    Raises:
        DataError: none can be used.
    """
    # Own masks have no border.
    meanings = BORDERS if all(example.labels.trimap for example in examples) else (border,)

    def measure(image: ScoredImage) -> tuple[ImageResult, str, list[float], list[Counts]]:
        draw(image)
        masks = [binary_mask(image.pixels.trimap, meaning) for meaning in meanings]
        return (
            image.result,
            image.digest,
            [score.measure(image) for score in IMAGE_SCORES.values()],
            [count_pixels(image.prediction, *mask) for mask in masks],
        )

    images, problems = score_images(model, examples, border, measure, progress=progress)
    if not images:
        raise DataError(f"no image of the {split} split can be used:", problems)
    results, digests, scores, counts = zip(*images, strict=True)
    evaluation = Evaluation.of(split, results)
    return Analysis(
        split=split,
        border=border,
        examples=evaluation.examples,
        digests=digests,
        scores=dict(zip(IMAGE_SCORES, np.array(scores).T, strict=True)),
        by_border={
            meaning: dataclasses.replace(evaluation, counts=join(of))
            for meaning, of in zip(meanings, zip(*counts, strict=True), strict=True)
        },
        histograms=evaluation.histograms,
        problems=problems,
    )
