"""What the training loop tells to whoever observes it."""

import dataclasses
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from segmentation.metrics.segmentation import Scores

#: Returns uint8 (K, S, S): the probabilities of the first K validation images (16 at most), in
#: units of 1/255.
Samples = Callable[[int], NDArray[np.uint8]]


class StopTraining(Exception):  # noqa: N818 - it stops, nothing is wrong
    """Raised by an observer to end training after this epoch; the message is the reason."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpochReport:
    """One finished epoch.

    Attributes:
        epoch, epochs: its number, from 1, and how many are now planned.
        train_loss: mean over the images seen, while the weights were changing.
        lr: learning rate of the last step.
        images_per_second: augmentation, forward, backward and update; validation apart.
        val_loss: mean over the counted pixels of each validation batch, averaged over images.
        val, val_pooled: scores of the validation images at the training size.
        is_best: whether this is the best validation Dice so far.
        samples: what the network now says of some validation images.
    """

    epoch: int
    epochs: int
    train_loss: float
    lr: float
    images_per_second: float
    val_loss: float
    val: Scores
    val_pooled: Scores
    is_best: bool
    samples: Samples


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitResult:
    """A finished training; the model holds the weights of the best epoch.

    Attributes:
        best_epoch: the epoch with the highest validation Dice, the first of equals.
        epochs: how many ran.
        reason: why it ended.
        seconds: wall time of the loop.
        first_step, last_step: when the first step began and the last epoch ended; seconds since
            1970.
        history: every epoch's figures, by name of metric, in order.
    """

    best_epoch: int
    epochs: int
    reason: str
    seconds: float
    first_step: float
    last_step: float
    history: dict[str, list[float]]


class Callback(Protocol):
    """Is told how training goes; may raise `StopTraining`."""

    def on_fit_start(self, samples: Samples) -> None:
        """Hear that training begins, and what the untrained network says."""

    def on_epoch_end(self, report: EpochReport) -> None:
        """Hear of a finished epoch."""

    def on_fit_end(self, result: FitResult) -> None:
        """Hear that training has ended."""


class EarlyStopping:
    """Stops when the validation Dice has not risen for `patience` epochs."""

    def __init__(self, patience: int) -> None:
        """Wait for `patience` epochs, at least 1."""
        self._patience = patience
        self._best_epoch = 0

    def restore(self, best_epoch: int) -> None:
        """Take over from a process that was stopped, given the best epoch until then."""
        self._best_epoch = best_epoch

    def on_fit_start(self, samples: Samples) -> None:
        """Do nothing."""

    def on_epoch_end(self, report: EpochReport) -> None:
        """Stop when it has been too long."""
        if report.is_best:
            self._best_epoch = report.epoch
        elif report.epoch - self._best_epoch >= self._patience:
            raise StopTraining(f"no better validation Dice for {self._patience} epochs")

    def on_fit_end(self, result: FitResult) -> None:
        """Do nothing."""


def epoch_metrics(report: EpochReport) -> dict[str, float]:
    """Return an epoch's figures under the names by which they are tracked."""
    return {
        "train/loss": report.train_loss,
        "train/lr": report.lr,
        "train/images_per_second": report.images_per_second,
        "val/loss": report.val_loss,
        "val/dice": report.val.dice,
        "val/iou": report.val.iou,
        "val/accuracy": report.val.accuracy,
        "val/dice_pooled": report.val_pooled.dice,
    }
