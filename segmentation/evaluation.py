"""A model and some examples -> the score of each image at its own size."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segmentation.errors import DataError
from segmentation.metrics import Counts, Scores, bootstrap_interval, count, join
from segmentation.pets import Example
from segmentation.pixels import ExampleError, binary_mask, decode

#: Maps uint8 (1, 3, H, W) RGB to the probabilities (1, 1, H, W) of pet.
Predictor = Callable[[Tensor], Tensor]

THRESHOLD = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judged:
    """One image, its truth, and what the model says.

    Attributes:
        example: which one.
        image: uint8 (H, W, 3), RGB, at the photo's own size.
        mask, valid: uint8 (H, W) in {0, 1}: the truth, and the pixels that count.
        probability: float32 (H, W) in [0, 1].
        counts: its pixel counts at the threshold of 0.5.
    """

    example: Example
    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    valid: NDArray[np.uint8]
    probability: NDArray[np.float32]
    counts: Counts

    def scores(self) -> Scores:
        """Return the scores of this image."""
        return self.counts.mean()


def judge(
    predictor: Predictor,
    files: Iterable[tuple[Example, tuple[bytes, bytes]]],
    border: str,
    device: torch.device,
) -> Iterator[Judged]:
    """Yield each example judged at its own size, one in memory at a time.

    Args:
        predictor: the model, such as a `Segmenter` in eval mode.
        files: examples, each with the contents of its image and trimap.
        border: what the trimap's border counts as.
        device: where the predictor expects its input.

    Raises:
        DataError: a file cannot be used.
    """
    for example, contents in files:
        try:
            pixels = decode(example, *contents)
        except ExampleError as error:
            raise DataError("an example cannot be used:", [str(error)]) from error
        mask, valid = binary_mask(pixels.trimap, border)
        image = torch.from_numpy(pixels.image).permute(2, 0, 1)[None].to(device)
        # TF32 would make a GPU's figures differ from those that others get from the same model.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            probability = predictor(image).float().cpu()
        yield Judged(
            example=example,
            image=pixels.image,
            mask=mask,
            valid=valid,
            probability=probability[0, 0].numpy(),
            counts=count(
                probability > THRESHOLD,
                torch.from_numpy(mask)[None, None],
                torch.from_numpy(valid)[None, None],
            ),
        )


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
    def of(cls, split: str, judged: Iterable[Judged]) -> "Evaluation":
        """Collect what `judge` yields."""
        pairs = [(one.example, one.counts) for one in judged]
        return cls(
            split=split,
            examples=tuple(example for example, _ in pairs),
            counts=join([counts for _, counts in pairs]),
        )

    def interval(self) -> tuple[float, float]:
        """Return the 95 % bootstrap interval of the mean Dice over images."""
        return bootstrap_interval(self.counts.dice())

    def floors(self) -> dict[str, float]:
        """Return what trivial answers score on these images, by name of metric."""
        pet, background = self.counts.all_pet().mean(), self.counts.all_background().mean()
        return {
            "floor/dice_all_pet": pet.dice,
            "floor/iou_all_pet": pet.iou,
            "floor/accuracy_all_pet": pet.accuracy,
            "floor/dice_all_background": background.dice,
            "floor/accuracy_all_background": background.accuracy,
        }

    def above_floors(self) -> bool:
        """Tell whether Dice and accuracy both beat every trivial answer on these images."""
        mean = self.counts.mean()
        floors = [self.counts.all_pet().mean(), self.counts.all_background().mean()]
        return all(mean.dice > f.dice and mean.accuracy > f.accuracy for f in floors)
