"""Our own trainings: all that the suites take from the training loop and its settings."""

import copy
import dataclasses
import time
from collections import Counter

from torch import nn

from segmentation.config.training import Config, TrainingConfig
from segmentation.data.loader import BatchLoader
from segmentation.models.unet import build_unet
from segmentation.runtime.device import Compute
from segmentation.training.loop import fit
from segmentation.training.rehearsal import fit_to_budget
from segmentation.training.trainer import Trainer
from segmentation.workflows.session import Splits


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timed:
    """A training within a time limit.

    Attributes:
        network: maps uint8 or float (N, 3, S, S) in [0, 255] to logits (N, 1, S, S).
        seconds: of training; imports, decoding and scoring apart.
        images: trained on, repetitions counted.
        epochs: passes over the data, the last one perhaps a part.
    """

    network: nn.Module
    seconds: float
    images: int
    epochs: float


def train_ours(
    seconds: float, seed: int, config: Config, splits: Splits, compute: Compute
) -> Timed:
    """Train with the defaults of `train`, and a budget of so many seconds.

    The weights are those of the epoch with the best validation Dice, as always; validating takes
    from the time.

    Args:
        seconds: of training.
        seed: of weights, batch order and augmentation.
        config: a training's settings.
        splits: `train` and `val`.
        compute: the device and its arithmetic.
    """
    training = dataclasses.replace(config.training, seed=seed)
    network, batches = build_unet(config.model, seed), _batches(splits, training)
    started = time.perf_counter()
    training, budget = fit_to_budget(seconds, network, batches, training, compute)
    compute.wait()
    rehearsal = time.perf_counter() - started
    result = fit(network, batches, training, compute, budget=budget)
    return Timed(
        network=network,
        seconds=rehearsal + result.seconds,
        images=result.epochs * len(splits["train"]),
        epochs=result.epochs,
    )


def alike(config: TrainingConfig, epochs: int) -> TrainingConfig:
    """Return the settings of a training of so many epochs, each at full size."""
    return dataclasses.replace(config, epochs=epochs, resizing="fixed")


def trainer(
    config: Config, splits: Splits, compute: Compute, *, width: int, patch: int, epochs: int
) -> Trainer:
    """Return what trains a U-Net of a given shape, an epoch at a time."""
    training = alike(config.training, epochs)
    shape = dataclasses.replace(config.model, width=width, patch=patch)
    return Trainer(build_unet(shape, 0), _batches(splits, training), training, compute)


def side_shares(one: Trainer) -> dict[int, float]:
    """Return which share of a training's epochs has images of which side, in pixels, rising."""
    epochs = range(1, one.plan.epochs + 1)
    found = Counter(one.image_size(epoch) for epoch in epochs)
    return {side: found[side] / len(epochs) for side in sorted(found)}


def train_epoch(one: Trainer, epoch: int, side: int) -> None:
    """Train one epoch at images of a given side, in pixels, whatever side the epoch would have."""
    one.resolution_schedule = [(1.0, side)]
    one.train_epoch(epoch)


def _batches(splits: Splits, training: TrainingConfig) -> BatchLoader:
    return BatchLoader(splits["train"], splits["val"], training)


def checkpoint(one: Trainer) -> dict[str, object]:
    """Copy the weights, as the loop does after each epoch that is the best so far."""
    return copy.deepcopy(one.eval_model.state_dict())
