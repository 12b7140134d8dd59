"""How far a training has come, and what follows: the learning rate and the images' size."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

#: Progressive resizing: (progress, share of image_size), up to which progress images are how large.
#: J. Howard's team used it for DAWNBench, 2018: small images are cheap, and teach the coarse first.
_STAGES = ((0.4, 0.5), (0.7, 0.75))

#: The one-cycle schedule: how long the rate rises, from which part of its peak, to which it falls.
RISE, _FIRST, _LAST = 0.3, 1 / 25, 1e-4 / 25


@dataclasses.dataclass
class Schedule:
    """How far training is, from 0 to 1, where the number of epochs may still change."""

    epochs: int  # how many there are to be
    steps: int  # of each epoch
    from_epoch: int = 0  # where training was when `epochs` was last changed
    from_progress: float = 0.0

    def progress(self, epoch: int, step: int = 0) -> float:
        """Return the share of training, in [0, 1], that is over before a step of an epoch.

        Epochs count from 1, steps from 0.
        """
        done = (epoch - 1 - self.from_epoch) * self.steps + step
        whole = (self.epochs - self.from_epoch) * self.steps
        return min(1.0, self.from_progress + (1 - self.from_progress) * done / whole)

    def change(self, done: int, epochs: int) -> None:
        """Go on from where training is after `done` epochs, but to another end."""
        progress = self.progress(done + 1)
        self.epochs, self.from_epoch, self.from_progress = epochs, done, progress


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


def one_cycle(progress: float) -> float:
    """Return the learning rate as a share of its peak, in (0, 1].

    Up and down by half a cosine each: L. N. Smith, N. Topin, "Super-Convergence: Very Fast Training
    of Neural Networks Using Large Learning Rates", 2018; with the constants of PyTorch's
    OneCycleLR, which would have to know its last step from the first on.
    """
    if progress < RISE:
        return between(_FIRST, 1, progress / RISE)
    return between(1, _LAST, (progress - RISE) / (1 - RISE))


def between(start: float, end: float, share: float) -> float:
    """Return a value between two, by half a cosine, at a share of the way in [0, 1]."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def resolution_schedule(image_size: int, stride: int) -> list[tuple[float, int]]:
    """Return (progress, size in pixels): up to which progress images have which height and width.

    Sizes are multiples of `stride`, pixels of the image by one of the lowest level, so that nothing
    is padded, and at least two of it, so that the lowest level has more than one pixel.
    """
    found = []
    for until, share in _STAGES:
        size = max(2, math.ceil(image_size * share / stride)) * stride
        if size < image_size:
            found.append((until, size))
    return [*found, (1.0, image_size)]


def resolution_at(schedule: list[tuple[float, int]], progress: float) -> int:
    return next((size for until, size in schedule if progress < until), schedule[-1][1])
