"""`fit`: the training loop. It knows neither MLflow nor Optuna nor a console nor a disk."""

import dataclasses
import math
import time
from collections.abc import Mapping
from typing import Any

from segmentation.errors import TrainingError
from segmentation.training.schedule import Schedule, TrainingState
from segmentation.training.trainer import Trainer


def fit(trainer: Trainer, checkpoint: Mapping[str, Any] | None = None) -> TrainingState:
    """Train, and leave in the new trainer's model the weights of the epoch with the best Dice.

    What goes on from a checkpoint ends the same to the last bit, on a CPU with the same number of
    threads.

    Raises:
        TrainingError: the loss is not finite.
        CheckpointError: the checkpoint is of another network.
        PeerLostError: another process has gone.
    """
    if checkpoint is None:
        trainer.validate()  # for callbacks that show what the untrained network says
    else:
        trainer.load_state_dict(checkpoint)
    for callback in trainer.callbacks:
        callback.on_fit_start(trainer)
    state = trainer.state
    state.first_step = state.first_step or time.time()
    while not state.finished:
        metrics = {**trainer.train_epoch(), **trainer.validate().metrics()}
        _require_finite(metrics, state)
        trainer.record(metrics)
        for callback in trainer.callbacks:
            callback.on_epoch_end(trainer, metrics)
        _agree(trainer)
    trainer.load_best()
    trainer.count_time()
    state.stop_reason = state.stop_reason or f"all {state.schedule.epochs} epochs ran"
    for callback in trainer.callbacks:
        callback.on_fit_end(trainer)
    return state


def _agree(trainer: Trainer) -> None:
    """Have all processes go by the main one: a clock or a callback may have decided something."""
    state = trainer.state
    decided = [state.stop_reason, dataclasses.asdict(state.schedule)]
    state.stop_reason, schedule = trainer.group.broadcast(decided)
    state.schedule = Schedule(**schedule)


def _require_finite(metrics: Mapping[str, float], state: TrainingState) -> None:
    for where, loss in (("training", metrics["train/loss"]), ("validation", metrics["val/loss"])):
        if not math.isfinite(loss):
            raise TrainingError(
                f"the {where} loss became {loss} in epoch {state.epoch}; nothing was registered. "
                f"Lower lr (now {state.lr:g}) or say precision=fp32"
            )
