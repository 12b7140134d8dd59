"""What validation adds up, image by image, so that several processes may each do a part of it."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segmentation.metrics.segmentation import Counts

_BCE, _COUNTED, _DICE, _TP, _FP, _FN, _TN = range(7)


class ValidationTotals:
    """Figures of each image of a split; what another process has seen is 0 here.

    Attributes:
        figures: float64 (K, 7): sum of the binary cross-entropy, pixels that count, soft Dice loss,
            and the pixels counted as in `Counts`, which float64 holds exactly.
    """

    def __init__(self, images: int) -> None:
        """Begin with nothing, of so many images."""
        self.figures: NDArray[np.float64] = np.zeros((images, 7))
        self._batches: list[int] = []

    def begin(self, positions: Sequence[int]) -> None:
        """Take note of a batch: who is in it, whether seen here or elsewhere."""
        self._batches.append(len(positions))

    def add(self, first: int, parts: tuple[Tensor, Tensor, Tensor]) -> None:
        """Take the losses of some images, of which the first has this position in the split.

        Args:
            first: from 0.
            parts: as `SegmentationLoss.parts` returns them, (N,) each.
        """
        rows = slice(first, first + len(parts[0]))
        self.figures[rows, _BCE : _DICE + 1] = torch.stack(parts, dim=1).cpu().numpy()

    def count(self, first: int, counts: Counts) -> None:
        """Take the pixels of some images, of which the first has this position in the split."""
        rows = slice(first, first + len(counts))
        for column, some in (
            (_TP, counts.tp),
            (_FP, counts.fp),
            (_FN, counts.fn),
            (_TN, counts.tn),
        ):
            self.figures[rows, column] = some

    def loss(self) -> float:
        """Return the mean loss: of each batch over its pixels that count, averaged over images."""
        total, first = 0.0, 0
        for length in self._batches:
            some = self.figures[first : first + length]
            bce = some[:, _BCE].sum() / max(1.0, some[:, _COUNTED].sum())
            total += length * (bce + some[:, _DICE].mean())
            first += length
        return float(total / first)

    def counts(self) -> Counts:
        """Return the pixels of all images that were seen anywhere."""
        seen = self.figures[: sum(self._batches), _TP:].astype(np.int64)
        tp, fp, fn, tn = seen.T
        return Counts(tp=tp, fp=fp, fn=fn, tn=tn)
