"""How long epochs will take, from a few steps that are thrown away."""

import copy
import dataclasses
import itertools
import time

from torch import nn

from segmentation.config.training import TrainingConfig
from segmentation.data.loader import BatchLoader
from segmentation.runtime.device import Compute
from segmentation.runtime.process_group import SINGLE_PROCESS, ProcessGroup
from segmentation.training.time_budget import Budget
from segmentation.training.trainer import Trainer

_STEPS = 6  # of each size, besides one that warms up
_VALIDATED = 4  # batches
_PATIENCE = 0.02  # of the budget, for the steps of one size


def fit_to_budget(
    seconds: float,
    model: nn.Module,
    batches: BatchLoader,
    config: TrainingConfig,
    compute: Compute,
    group: ProcessGroup = SINGLE_PROCESS,
) -> tuple[TrainingConfig, Budget]:
    """Return the settings with as many epochs as fit into a time, and what keeps to it.

    Measured is on a copy: the training that follows is as if this was not.

    Args:
        seconds: of training; a few hundredths of them are spent here.
        model: to be trained.
        batches: its data.
        config: how; its number of epochs is not used.
        compute: where.
        group: the processes that train together; what the main one measures holds for all.
    """
    started = time.perf_counter()
    trainer = Trainer(copy.deepcopy(model), batches, config, compute, group)
    costs = _costs(trainer, batches, compute, _PATIENCE * seconds)
    budget = Budget(*group.broadcast([seconds, costs, time.perf_counter() - started]))
    return dataclasses.replace(config, epochs=budget.epochs()), budget


def _costs(
    trainer: Trainer, batches: BatchLoader, compute: Compute, patience: float
) -> list[tuple[float, float]]:
    """Return (share of training, seconds an epoch): up to where an epoch takes how long.

    That is with its validation. The steps of one size may take `patience` seconds.
    """
    # The first time, memory is laid out and kernels are made.
    trainer.validate(most=1)
    started = time.perf_counter()
    _, counts = trainer.validate(most=_VALIDATED)
    validation = (time.perf_counter() - started) / len(counts) * batches.val_size
    costs = []
    for until, side in trainer.resolution_schedule:
        steps = itertools.chain.from_iterable(trainer.steps(n, side) for n in itertools.count())
        with batches.one_at_a_time():  # else some steps would have their data from before
            next(steps)
            compute.wait()
            images, started = 0, time.perf_counter()
            for _, size in itertools.islice(steps, _STEPS):
                images += size
                compute.wait()
                if trainer.group.broadcast(time.perf_counter() - started > patience):
                    break
            an_image = (time.perf_counter() - started) / images
        costs.append((until, batches.train_size * an_image + validation))
    return costs
