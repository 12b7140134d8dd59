"""Training for so many seconds: how many epochs that is, measured first and corrected later."""

import copy
import dataclasses
import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from segmentation.config.fields import MOST
from segmentation.config.training import TrainingConfig
from segmentation.data.loader import BatchLoader
from segmentation.runtime.device import Compute
from segmentation.runtime.process_group import SINGLE_PROCESS, ProcessGroup
from segmentation.training.callbacks import Callback
from segmentation.training.schedule import TrainingState
from segmentation.training.trainer import Trainer

_DRIFT = 0.03  # of the budget; less is left to chance
_SURE = 0.1  # of the budget must be over before the measured costs are doubted
_STEPS = 6  # measured of each image size, besides one that warms up
_BATCHES = 4  # of validation that are measured
_MOST = 0.02  # of the budget, for the steps of one image size


@dataclasses.dataclass
class TimeBudget(Callback):
    """Changes the number of epochs after an epoch, if its time would not be kept otherwise.

    The first of the callbacks: the others are to see the change.
    """

    asked: float  # seconds that training may take, measuring included
    #: (progress, seconds): up to which progress an epoch takes how long, with its validation; the
    #: last progress is 1.
    costs: Sequence[Sequence[float]]
    measuring: float = 0.0  # seconds that this took
    expected: float = 0.0  # seconds that the epochs so far should have taken
    changes: list[str] = dataclasses.field(default_factory=list)  # of their number, in words

    def __str__(self) -> str:
        return "; ".join([f"{self.asked:g} s", *self.changes])

    def state_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)

    def epochs(self) -> int:
        """Return how many fit, at least 1 and at most what `epochs` can be."""
        return min(MOST, max(1, round((self.asked - self.measuring) / self._mean_cost(0))))

    def seconds(self, epochs: int) -> float:
        """Return what a training of so many epochs takes, measuring included."""
        return self.measuring + epochs * self._mean_cost(0)

    def on_epoch_end(self, trainer: Trainer, metrics: Mapping[str, float]) -> None:
        if not trainer.state.finished:
            self.correct(trainer.state)

    def correct(self, state: TrainingState) -> None:
        """Change the number of epochs if the end would come too early or too late."""
        schedule, done, limit = state.schedule, state.epoch, self.asked - self.measuring
        before, progress = schedule.progress(done), schedule.progress(done + 1)
        self.expected += self._mean_cost(before, progress)
        # What was not measured before, such as tracking, comes with each epoch of any size.
        cost = max(0.0, self._mean_cost(progress) + (state.seconds - self.expected) / done)
        end = state.seconds + (schedule.epochs - done) * cost
        if state.seconds < _SURE * limit or cost == 0 or abs(end - limit) <= _DRIFT * limit:
            return
        epochs = done + max(1, round((limit - state.seconds) / cost))
        if epochs != schedule.epochs:
            self.changes.append(f"{schedule.epochs} to {epochs} after epoch {done}")
            schedule.change(done, epochs)

    def _mean_cost(self, start: float, end: float = 1.0) -> float:
        """Return the seconds of a mean epoch from one progress to another."""
        bounds = [0.0, *(until for until, _ in self.costs)]
        total = 0.0
        for (low, high), (_, cost) in zip(itertools.pairwise(bounds), self.costs, strict=True):
            total += max(0.0, min(high, end) - max(low, start)) * cost
        return total / (end - start)


def measure_budget(
    seconds: float,
    model: nn.Module,
    batches: BatchLoader,
    config: TrainingConfig,
    compute: Compute,
    group: ProcessGroup = SINGLE_PROCESS,
) -> TimeBudget:
    """Return what fits a training into a time and keeps to it.

    A few hundredths of the time are spent here, on a copy of the model: the training that follows
    is as if this was not. Of several processes, what the main one measures holds for all.
    """
    started = time.perf_counter()
    trainer = Trainer(copy.deepcopy(model), batches, config, compute, group)
    costs = _measure_costs(trainer, compute, _MOST * seconds)
    return TimeBudget(*group.broadcast([seconds, costs, time.perf_counter() - started]))


def _measure_costs(trainer: Trainer, compute: Compute, most: float) -> list[tuple[float, float]]:
    """Return `TimeBudget.costs`; the steps of one size may take `most` seconds."""
    batches = trainer.batches
    # The first time, memory is laid out and kernels are made.
    trainer.validate(most=1)
    started = time.perf_counter()
    validated = len(trainer.validate(most=_BATCHES).counts)
    validation = (time.perf_counter() - started) / validated * batches.val_size
    costs = []
    for until, size in trainer.resolution_schedule:
        steps = itertools.chain.from_iterable(trainer.steps(n, size) for n in itertools.count(1))
        with batches.one_at_a_time():  # else some steps would have their data from before
            next(steps)
            compute.wait()
            images, started = 0, time.perf_counter()
            for _, number in itertools.islice(steps, _STEPS):
                images += number
                compute.wait()
                if trainer.group.broadcast(time.perf_counter() - started > most):
                    break
            an_image = (time.perf_counter() - started) / images
        costs.append((until, batches.train_size * an_image + validation))
    return costs
