"""How far a training has come."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from segmentation.training.schedule import Schedule


@dataclasses.dataclass
class TrainingState:
    """How far a training has come: all of it that is numbers and text.

    Attributes:
        schedule: how many epochs there are to be; it may change after each of them.
        epoch: how many are complete.
        step: steps of the next epoch that are complete.
        lr: learning rate of the last step.
        best_dice, best_epoch: the highest validation Dice so far, and the first epoch that had it.
        stop_reason: why training has ended; set by a callback, it ends after this epoch.
        seconds: wall time, that of processes that were stopped included.
        first_step, last_step: when the first step began and the last epoch ended; seconds since
            1970.
        history: every epoch's metrics, by name, in order.
    """

    schedule: Schedule
    epoch: int = 0
    step: int = 0
    lr: float = 0.0
    best_dice: float = -math.inf
    best_epoch: int = 0
    stop_reason: str = ""
    seconds: float = 0.0
    first_step: float = 0.0
    last_step: float = 0.0
    history: dict[str, list[float]] = dataclasses.field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether no further epoch is to be trained."""
        return bool(self.stop_reason) or self.epoch >= self.schedule.epochs

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainingState":
        """Return what `dataclasses.asdict` was given."""
        return cls(**{**values, "schedule": Schedule(**values["schedule"])})
