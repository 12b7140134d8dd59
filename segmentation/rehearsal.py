"""How long epochs will take, from a few steps that are thrown away."""

import copy
import itertools
import time

from torch import nn

from segmentation.batches import Batches
from segmentation.config import TrainingConfig
from segmentation.devices import Compute
from segmentation.training import Trainer

_STEPS = 6  # of each size, besides one that warms up
_PATIENCE = 0.02  # of the budget, for the steps of one size


def rehearse(
    model: nn.Module,
    batches: Batches,
    config: TrainingConfig,
    compute: Compute,
    seconds: float,
) -> list[tuple[float, float]]:
    """Measure what `Budget` needs, on a copy: the training that follows is as if this was not.

    Args:
        model: to be trained.
        batches: its data.
        config: how.
        compute: where.
        seconds: the budget; a few hundredths of it are spent.

    Returns:
        (share of training, seconds an epoch), up to where an epoch takes how long, with its
        validation.
    """
    trainer = Trainer(copy.deepcopy(model), batches, config, compute)
    trainer.validate()  # the first time, memory is laid out and kernels are made
    started = time.perf_counter()
    trainer.validate()
    validation = time.perf_counter() - started
    costs = []
    for until, side in trainer.stages:
        steps = itertools.chain.from_iterable(trainer.steps(n, side) for n in itertools.count())
        next(steps)
        compute.wait()
        images, started = 0, time.perf_counter()
        for _, size in itertools.islice(steps, _STEPS):
            images += size
            compute.wait()
            if time.perf_counter() - started > _PATIENCE * seconds:
                break
        an_image = (time.perf_counter() - started) / images
        costs.append((until, batches.train_size * an_image + validation))
    return costs
