"""Callbacks: what else happens while a network is trained."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from segmentation.utils.concurrency import ProgressBar

if TYPE_CHECKING:
    from segmentation.training.trainer import Trainer

_log = logging.getLogger(__name__)


class Callback:
    """Is called by the training loop; each method does nothing unless a subclass says otherwise.

    `trainer.state` tells how training stands, `trainer.validation` what the network now says of the
    validation images. To end training after an epoch, set `trainer.state.stop_reason`.
    """

    def on_fit_start(self, trainer: "Trainer") -> None:
        """Training begins, or goes on where another process was stopped."""

    def on_step_end(self, trainer: "Trainer") -> None:
        """A step is complete; what takes time here slows training down."""

    def on_epoch_end(self, trainer: "Trainer", metrics: Mapping[str, float]) -> None:
        """An epoch is complete and validated; `metrics` has its figures by their tracked names."""

    def on_fit_end(self, trainer: "Trainer") -> None:
        """Training has ended; the model has the weights of its best epoch."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint is to hold: plain types, bytes and tensors."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave, before `on_fit_start`."""


class EarlyStopping(Callback):
    """Stops when the validation Dice has not risen for `patience` epochs, at least 1."""

    def __init__(self, patience: int) -> None:
        self._patience = patience

    def on_epoch_end(self, trainer: "Trainer", metrics: Mapping[str, float]) -> None:
        state = trainer.state
        if state.epoch - state.best_epoch >= self._patience:
            state.stop_reason = f"no better validation Dice for {self._patience} epochs"


class ProgressCallback(Callback):
    """Shows the epochs on a progress bar."""

    def __init__(self, progress: ProgressBar) -> None:
        self._progress = progress

    def on_epoch_end(self, trainer: "Trainer", metrics: Mapping[str, float]) -> None:
        self._progress(
            trainer.state.epoch,
            trainer.state.schedule.epochs,
            f"loss {metrics['train/loss']:.3f}  val Dice {metrics['val/dice']:.3f}  "
            f"accuracy {metrics['val/accuracy']:.3f}  "
            f"{metrics['train/images_per_second']:.0f} images/s",
        )

    def on_fit_end(self, trainer: "Trainer") -> None:
        self._progress.close()
        state = trainer.state
        if not state.stop_reason.startswith("all "):
            _log.info("Stopped after epoch %d: %s", state.epoch, state.stop_reason)
