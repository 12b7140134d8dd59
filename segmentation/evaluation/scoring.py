"""A model and some examples -> the score of each image at its own size."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from segmentation.data.images.examples import ExampleError, binary_mask, decode, read_files
from segmentation.data.oxford_pets import Example
from segmentation.errors import DataError
from segmentation.metrics.segmentation import Counts, Scores, bootstrap_interval, count, join
from segmentation.models.predictor import BATCH, Model, one_thread_each, workers_for
from segmentation.utils.concurrency import batched, prefetch

THRESHOLD = 0.5

#: Returns the contents of image and trimap of an example; may raise `ExampleError`.
Reader = Callable[[Example], tuple[bytes, bytes]]

_Measured = TypeVar("_Measured")
_Drawn = TypeVar("_Drawn")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoredImage:
    """One image, its truth, and what the model says.

    Attributes:
        example: which one.
        content: of the image's file.
        image: uint8 (H, W, 3), RGB, at the photo's own size.
        trimap: uint8 (H, W), values in {1, 2, 3}.
        mask, valid: uint8 (H, W) in {0, 1}: the truth, and the pixels that count.
        probability: float32 (H, W) in [0, 1].
        counts: its pixel counts at the threshold of 0.5.
    """

    example: Example
    content: bytes
    image: NDArray[np.uint8]
    trimap: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    valid: NDArray[np.uint8]
    probability: NDArray[np.float32]
    counts: Counts

    def scores(self) -> Scores:
        """Return the scores of this image."""
        return self.counts.mean()

    def digest(self) -> str:
        """Return the SHA-256 of the image's file, hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()


def score_images(
    model: Model,
    examples: Iterable[Example],
    border: str,
    measure: Callable[[ScoredImage], _Measured],
    read: Reader = read_files,
) -> Iterator[_Measured | str]:
    """Judge examples at their own size, some in memory at a time; yield in their order.

    Args:
        model: gives the probabilities.
        examples: which ones.
        border: what the trimap's border counts as.
        measure: called in a worker's thread with each one judged; what it returns is yielded.
        read: where the files' contents are from.

    Yields:
        What `measure` returned, or one line that says why an example cannot be used.
    """

    def contents(example: Example) -> tuple[Example, tuple[bytes, bytes] | str]:
        try:
            return example, read(example)
        except ExampleError as error:
            return example, str(error)

    def work(batch: Sequence[tuple[Example, tuple[bytes, bytes] | str]]) -> list[_Measured | str]:
        outcomes: list[_Measured | str] = []
        pixels = [_pixels(*one) for one in batch]
        good = [one for one in pixels if not isinstance(one, str)]
        probabilities = model(image for image, _ in good)
        for (example, content), one in zip(batch, pixels, strict=True):
            if isinstance(one, str):
                outcomes.append(one)
            else:
                judged = _judged(example, content[0], *one, next(probabilities), border)
                outcomes.append(measure(judged))
        return outcomes

    with one_thread_each() as first:
        inputs = batched(map(contents, examples), BATCH)
        for outcomes in prefetch(work, inputs, workers_for(model.device), first):
            yield from outcomes


def _pixels(
    example: Example, contents: tuple[bytes, bytes] | str
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | str:
    """Decode image and trimap, or say why not."""
    if isinstance(contents, str):
        return contents
    try:
        pixels = decode(example, *contents)
    except ExampleError as error:
        return str(error)
    return pixels.image, pixels.trimap


def _judged(
    example: Example,
    content: bytes | str,
    image: NDArray[np.uint8],
    trimap: NDArray[np.uint8],
    probability: NDArray[np.float32],
    border: str,
) -> ScoredImage:
    mask, valid = binary_mask(trimap, border)
    return ScoredImage(
        example=example,
        content=content if isinstance(content, bytes) else b"",
        image=image,
        trimap=trimap,
        mask=mask,
        valid=valid,
        probability=probability,
        counts=counts_of(probability > THRESHOLD, mask, valid),
    )


def counts_of(
    prediction: NDArray[np.bool_], mask: NDArray[np.uint8], valid: NDArray[np.uint8]
) -> Counts:
    """Count the pixels of one image; all (H, W)."""
    three = (torch.from_numpy(array)[None, None] for array in (prediction, mask, valid))
    return count(*three)


class Pictures(Protocol[_Drawn]):
    """Collects pictures of judged images."""

    def draw(self, judged: ScoredImage) -> _Drawn:
        """Draw one image; called in any thread."""

    def add(self, drawn: _Drawn) -> None:
        """Take in what was drawn; called in order."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The scores of N images, with what is needed to believe them.

    Attributes:
        split: which images.
        examples: N of them, in the order of `counts`.
        counts: pixel counts at each photo's own size.
    """

    split: str
    examples: tuple[Example, ...]
    counts: Counts

    @classmethod
    def of(cls, split: str, judged: Sequence[tuple[Example, Counts]]) -> "Evaluation":
        """Put the counts of some images together."""
        return cls(
            split=split,
            examples=tuple(example for example, _ in judged),
            counts=join([counts for _, counts in judged]),
        )

    def interval(self) -> tuple[float, float]:
        """Return the 95 % bootstrap interval of the mean Dice over images."""
        return self._interval

    @functools.cached_property
    def _interval(self) -> tuple[float, float]:
        return bootstrap_interval(self.counts.dice())  # ten thousand resamples: once

    def metrics(self) -> dict[str, float]:
        """Return the scores as they are tracked, by names such as `gate/dice`."""
        mean, (low, high) = self.counts.mean(), self.interval()
        found = {
            "dice": mean.dice,
            "dice_low": low,
            "dice_high": high,
            "iou": mean.iou,
            "accuracy": mean.accuracy,
            "images": float(len(self.counts)),
            "floor_dice": self.counts.all_pet().mean().dice,
            "floor_accuracy": self.counts.all_background().mean().accuracy,
        }
        return {f"{self.split}/{name}": value for name, value in found.items()}

    def baselines(self) -> dict[str, float]:
        """Return what trivial answers score on these images, by name of metric."""
        pet, background = self.counts.all_pet().mean(), self.counts.all_background().mean()
        return {
            "floor/dice_all_pet": pet.dice,
            "floor/iou_all_pet": pet.iou,
            "floor/accuracy_all_pet": pet.accuracy,
            "floor/dice_all_background": background.dice,
            "floor/accuracy_all_background": background.accuracy,
        }

    def above_baselines(self) -> bool:
        """Tell whether Dice and accuracy both beat every trivial answer on these images."""
        mean = self.counts.mean()
        floors = [self.counts.all_pet().mean(), self.counts.all_background().mean()]
        return all(mean.dice > f.dice and mean.accuracy > f.accuracy for f in floors)


def evaluate(
    split: str,
    model: Model,
    examples: Iterable[Example],
    border: str,
    pictures: Pictures[_Drawn] | None = None,
    read: Reader = read_files,
) -> tuple[Evaluation, tuple[str, ...]]:
    """Judge examples and put their counts together.

    Args:
        split: which examples these are.
        model: gives the probabilities.
        examples: which ones.
        border: what the trimap's border counts as.
        pictures: collects pictures of them.
        read: where the files' contents are from.

    Returns:
        The evaluation of those that can be used, and a line for each that cannot.

    Raises:
        DataError: none can be used.
    """

    def measure(judged: ScoredImage) -> tuple[Example, Counts, _Drawn | None]:
        return judged.example, judged.counts, pictures.draw(judged) if pictures else None

    judged, problems = [], []
    for one in score_images(model, examples, border, measure, read):
        if isinstance(one, str):
            problems.append(one)
            continue
        example, counts, drawn = one
        judged.append((example, counts))
        if pictures and drawn is not None:
            pictures.add(drawn)
    if not judged:
        raise DataError(f"no image of the {split} split can be used:", problems)
    return Evaluation.of(split, judged), tuple(problems)
