"""`fit`: the training loop. It knows neither MLflow nor Optuna nor a console nor a disk."""

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from segmentation.config.training import TrainingConfig
from segmentation.data.loader import BatchLoader
from segmentation.errors import TrainingError
from segmentation.runtime.device import Compute
from segmentation.runtime.process_group import SINGLE_PROCESS, ProcessGroup
from segmentation.training import randomness
from segmentation.training.callbacks import (
    Callback,
    EpochReport,
    FitResult,
    StopTraining,
    epoch_metrics,
)
from segmentation.training.checkpoint import Snapshot
from segmentation.training.tensors import array, fill
from segmentation.training.time_budget import Budget
from segmentation.training.trainer import Trainer


class Checkpointer(Protocol):
    """Keeps what it takes to go on, where and when it sees fit."""

    def load(self) -> Snapshot | None:
        """Return what was kept of this very training by a process that was stopped, if any."""

    def on_step_end(self, take: Callable[[], Snapshot]) -> None:
        """Hear that a step is over; `take` tells how things stand.

        Raises:
            KeyboardInterrupt: training is to end here.
        """

    def on_epoch_end(self, take: Callable[[], Snapshot], *, now: bool) -> None:
        """Hear that an epoch is over, of which all observers have been told.

        Args:
            take: tells how things stand.
            now: whether this must be kept: it was the last one, or what follows was decided by a
                clock, which would not decide the same again.

        Raises:
            KeyboardInterrupt: training is to end here.
        """


def fit(
    model: nn.Module,
    batches: BatchLoader,
    config: TrainingConfig,
    compute: Compute,
    observers: Sequence[Callback] = (),
    budget: Budget | None = None,
    keeper: Checkpointer | None = None,
    group: ProcessGroup = SINGLE_PROCESS,
) -> FitResult:
    """Train, and leave in `model` the weights of the epoch with the best validation Dice.

    Args:
        model: maps uint8 (N, 3, S, S) to logits (N, 1, S, S); moved to the device.
        batches: the two splits.
        config: how to train.
        compute: where, and in which precision.
        observers: told of each epoch, in this order; of several processes by the main one alone.
        budget: changes the number of epochs when its time would not be kept; the main one's counts.
        keeper: may have training go on where an earlier process was stopped: what comes of it is
            the same to the last bit, on a CPU with the same number of threads.
        group: the processes that train together, each with its share of the batches.

    Raises:
        TrainingError: the loss is not finite.
        CheckpointError: what the keeper has is of another network.
        PeerLostError: another process has gone.
    """
    trainer = Trainer(model, batches, config, compute, group)
    return _Fit(trainer, model, config, observers, budget).run(keeper)


@dataclasses.dataclass
class TrainingState:
    """How a training has gone so far, apart from the trainer's own state."""

    epoch: int = 0  # that is over, or under way
    over: bool = True  # whether it is over
    best_dice: float = -math.inf
    best_epoch: int = 0
    reason: str = ""
    seconds: float = 0.0  # of processes that were stopped
    first_step: float = 0.0
    last_step: float = 0.0
    history: dict[str, list[float]] = dataclasses.field(default_factory=dict)


class _Fit:
    """One training, from its beginning or from where another process was stopped."""

    def __init__(
        self,
        trainer: Trainer,
        model: nn.Module,
        config: TrainingConfig,
        observers: Sequence[Callback],
        budget: Budget | None,
    ) -> None:
        self._trainer, self._model, self._config = trainer, model, config
        self._observers, self._budget = observers, budget
        self._best: Mapping[str, Tensor] = model.state_dict()
        self._course, self._started = TrainingState(), time.perf_counter()

    def run(self, keeper: Checkpointer | None) -> FitResult:
        """Train to the end."""
        trainer = self._trainer
        found = keeper.load() if keeper is not None else None
        if found is not None:
            self._restore(found)
        if self._budget is not None:
            self._budget.start()
        if found is None:
            trainer.validate()
            for observer in self._observers:
                observer.on_fit_start(trainer.samples)
            self._course.first_step = time.time()
        while not self._ended():
            if self._course.over:
                self._course.epoch, self._course.over = self._course.epoch + 1, False
            figures = trainer.train_epoch(
                self._course.epoch, lambda: keeper.on_step_end(self._take) if keeper else None
            )
            planned = trainer.plan.epochs
            report = self._judge(*figures)
            self._tell(report)
            self._agree()
            self._course.over = True
            self._course.last_step = time.time()
            if keeper is not None:
                changed = trainer.plan.epochs != planned
                keeper.on_epoch_end(self._take, now=self._ended() or changed)
        return self._end()

    def _ended(self) -> bool:
        """Tell whether no further step is to be made."""
        course = self._course
        last = bool(course.reason) or course.epoch >= self._trainer.plan.epochs
        return course.over and last

    def _judge(self, train_loss: float, speed: float) -> EpochReport:
        """Validate after an epoch, and keep the weights if they are the best so far."""
        trainer, course = self._trainer, self._course
        val_loss, counts = trainer.validate()
        for where, loss in (("training", train_loss), ("validation", val_loss)):
            _require_finite(loss, where, course.epoch, self._config)
        val = counts.mean()
        is_best = val.dice > course.best_dice
        if is_best:
            course.best_dice, course.best_epoch = val.dice, course.epoch
            self._best = copy.deepcopy(trainer.eval_model.state_dict())
        if self._budget is not None:
            self._budget.correct(trainer.plan, course.epoch)
        return EpochReport(
            epoch=course.epoch,
            epochs=trainer.plan.epochs,
            train_loss=train_loss,
            lr=trainer.last_lr,
            images_per_second=speed,
            val_loss=val_loss,
            val=val,
            val_pooled=counts.pooled(),
            is_best=is_best,
            samples=trainer.samples,
        )

    def _tell(self, report: EpochReport) -> None:
        """Tell the observers of an epoch."""
        for name, value in epoch_metrics(report).items():
            self._course.history.setdefault(name, []).append(value)
        try:
            for observer in self._observers:
                observer.on_epoch_end(report)
        except StopTraining as stop:
            self._course.reason = str(stop)

    def _agree(self) -> None:
        """Have of the main process what depends on a clock or an observer."""
        group, plan = self._trainer.group, self._trainer.plan
        self._course.reason, state = group.broadcast([self._course.reason, plan.state()])
        plan.restore(state)

    def _end(self) -> FitResult:
        """Take the best weights, and say how it went."""
        course = self._course
        self._model.load_state_dict(self._best)
        result = FitResult(
            best_epoch=course.best_epoch,
            epochs=course.epoch,
            reason=course.reason or f"all {self._trainer.plan.epochs} epochs ran",
            seconds=self._seconds(),
            first_step=course.first_step,
            last_step=course.last_step,
            history=course.history,
        )
        for observer in self._observers:
            observer.on_fit_end(result)
        return result

    def _seconds(self) -> float:
        return self._course.seconds + time.perf_counter() - self._started

    def _take(self) -> Snapshot:
        """Tell how things stand, after a step or after an epoch."""
        trainer, generators = self._trainer.state(), randomness.state()
        arrays = {**trainer.arrays}
        arrays |= {f"random.{name}": one for name, one in generators.arrays.items()}
        arrays |= {f"best.{name}": array(one) for name, one in self._best.items()}
        course = dataclasses.asdict(self._course) | {"seconds": self._seconds()}
        return Snapshot(
            arrays=arrays,
            metadata={
                "course": course,
                "trainer": trainer.metadata,
                "random": generators.metadata,
                "budget": self._budget.state() if self._budget else None,
            },
        )

    def _restore(self, snapshot: Snapshot) -> None:
        """Become the training that was stopped."""
        facts = snapshot.metadata
        self._trainer.restore(Snapshot(arrays=snapshot.arrays, metadata=facts["trainer"]))
        self._best = copy.deepcopy(self._trainer.eval_model.state_dict())
        fill(self._best, snapshot.arrays, "best.")
        self._course = TrainingState(**facts["course"])
        randomness.restore(Snapshot(arrays=_below("random.", snapshot), metadata=facts["random"]))


def _below(prefix: str, snapshot: Snapshot) -> dict[str, Any]:
    """Return the arrays whose names begin so, without that beginning."""
    return {
        name.removeprefix(prefix): one
        for name, one in snapshot.arrays.items()
        if name.startswith(prefix)
    }


def _require_finite(loss: float, where: str, epoch: int, config: TrainingConfig) -> None:
    if not math.isfinite(loss):
        raise TrainingError(
            f"the {where} loss became {loss} in epoch {epoch}; nothing was registered. Lower lr "
            f"(now {config.lr:g}) or say precision=fp32"
        )
