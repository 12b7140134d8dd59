"""What changes while training goes on: the learning rate and the images' size."""

import math
from collections.abc import Mapping
from typing import Any

#: Shares of training by whose end images have this share of their size: progressive resizing.
#: J. Howard's team used it for DAWNBench, 2018: small images are cheap, and teach the coarse first.
_STAGES = ((0.4, 0.5), (0.7, 0.75))

#: The one-cycle schedule: how long the rate rises, from which part of its peak, to which it falls.
RISE, _FIRST, _LAST = 0.3, 1 / 25, 1e-4 / 25


class Schedule:
    """How far training is, from 0 to 1, where the number of epochs may still change."""

    def __init__(self, epochs: int, steps: int) -> None:
        """Plan `epochs` of `steps` steps each, both at least 1."""
        self.epochs, self._steps = epochs, steps
        self._from_epoch, self._from_progress = 0, 0.0

    def state(self) -> dict[str, float]:
        """Return what `restore` needs."""
        return {
            "epochs": self.epochs,
            "from_epoch": self._from_epoch,
            "from_progress": self._from_progress,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become the plan that `state` was taken of."""
        self.epochs, self._from_epoch = int(state["epochs"]), int(state["from_epoch"])
        self._from_progress = float(state["from_progress"])

    def progress(self, epoch: int, step: int = 0) -> float:
        """Return the share of training, in [0, 1], that is over before a step.

        Args:
            epoch: from 1.
            step: of this epoch, from 0.
        """
        done = (epoch - 1 - self._from_epoch) * self._steps + step
        whole = (self.epochs - self._from_epoch) * self._steps
        return min(1.0, self._from_progress + (1 - self._from_progress) * done / whole)

    def change(self, done: int, epochs: int) -> None:
        """Go on from where training is, but to another end.

        Args:
            done: epochs that are over.
            epochs: how many there are to be, more than `done`.
        """
        progress = self.progress(done + 1)
        self.epochs, self._from_epoch, self._from_progress = epochs, done, progress


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
    """Return (share of training, side in pixels): up to where images have which height and width.

    Sides are multiples of `stride`, so that nothing is padded, and at least two of it, so that the
    lowest level has more than one pixel.

    Args:
        image_size: the last side.
        stride: pixels of the image by one of the lowest level.
    """
    found = []
    for until, share in _STAGES:
        side = max(2, math.ceil(image_size * share / stride)) * stride
        if side < image_size:
            found.append((until, side))
    return [*found, (1.0, image_size)]


def resolution_at(plan: list[tuple[float, int]], progress: float) -> int:
    """Return the side of the images at a moment of training, of what `resolution_schedule` gave."""
    return next((side for until, side in plan if progress < until), plan[-1][1])
