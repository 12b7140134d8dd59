"""Callbacks: what else happens while a network is trained."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segmentation.training.trainer import Trainer


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
