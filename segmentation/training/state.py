"""How far a training has come."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from segmentation.training.schedule import Schedule


@dataclasses.dataclass
class TrainingState:
    """How far a training has come: all of it that is numbers and text."""

    schedule: Schedule  # may change after each epoch
    epoch: int = 0  # how many are complete
    step: int = 0  # how many of the next epoch are complete
    lr: float = 0.0  # learning rate of the last step
    best_dice: float = -math.inf  # on the validation images
    best_epoch: int = 0  # the first that had it
    stop_reason: str = ""  # why training has ended; set by a callback, it ends after this epoch
    seconds: float = 0.0  # wall time, that of processes that were stopped included
    first_step: float = 0.0  # when it began, in seconds since 1970
    last_step: float = 0.0  # when the last epoch ended
    #: Every epoch's metrics, by name, in order.
    history: dict[str, list[float]] = dataclasses.field(default_factory=dict)

    @property
    def finished(self) -> bool:
        return bool(self.stop_reason) or self.epoch >= self.schedule.epochs

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainingState":
        """Return what `dataclasses.asdict` was given."""
        return cls(**{**values, "schedule": Schedule(**values["schedule"])})
