"""A peer's network trained as well as ours is, within a time that is used up exactly."""

import contextlib
import copy
import itertools
import math
import time
from collections.abc import Generator

import torch
from torch import Tensor, nn

from segmentation.benchmark.ours import Timed
from segmentation.benchmark.pairing import seconds as seconds_of
from segmentation.data.loader import Batch, BatchLoader
from segmentation.metrics.segmentation import count, join
from segmentation.runtime.device import Compute
from segmentation.training.loss import SegmentationLoss
from segmentation.training.schedule import RISE, between, one_cycle

_BETA_HIGH, _BETA_LOW = 0.95, 0.85


def rate_and_momentum(progress: float) -> tuple[float, float]:
    """Return what PyTorch's OneCycleLR sets by default.

    Args:
        progress: share of the training that is over, in [0, 1].

    Returns:
        The rate as a share of its peak, and Adam's first beta, which falls while the rate rises.
    """
    progress = min(1.0, progress)
    if progress < RISE:
        return one_cycle(progress), between(_BETA_HIGH, _BETA_LOW, progress / RISE)
    return one_cycle(progress), between(_BETA_LOW, _BETA_HIGH, (progress - RISE) / (1 - RISE))


def train_within(
    seconds: float,
    network: nn.Module,
    lr: float,
    learned: str,
    batches: BatchLoader,
    compute: Compute,
) -> Timed:
    """Train with AdamW and one-cycle, the schedule a function of the time that is over.

    The weights are chosen as ours are: those of the epoch with the best validation Dice. What that
    takes is not counted here, while ours pays for it: whoever is better is so not by its choice.

    Args:
        seconds: of training.
        network: maps uint8 (N, 3, S, S) to logits (N, 1, S, S); trained in place.
        lr: the peak.
        learned: the loss, as ours.
        batches: decoded and augmented as ours are.
        compute: where, and in which precision.
    """
    network = network.to(compute.device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, fused=True)
    scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.scaled)
    criterion = SegmentationLoss(learned)
    best = _Best(network, batches, compute)
    images, validation, started = 0, 0.0, time.perf_counter()
    with contextlib.closing(_forever(batches)) as following:
        batch = next(following)
        while True:
            compute.wait()
            elapsed = time.perf_counter() - started - validation
            if elapsed >= seconds:
                break
            share, beta = rate_and_momentum(elapsed / seconds)
            for group in optimizer.param_groups:
                group["lr"], group["betas"] = lr * share, (beta, group["betas"][1])
            there = batch.to(compute.device)
            with compute.autocast():
                logits: Tensor = network(there.image)
            loss = criterion(logits, there.mask, there.valid)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            images += len(batch.image)
            batch = next(following)  # while a GPU computes
            if images % batches.train_size == 0:  # an epoch is over
                validation += seconds_of(best.look, compute.device)
    best.look()
    best.restore()
    return Timed(
        network=network, seconds=elapsed, images=images, epochs=images / batches.train_size
    )


class _Best:
    """Keeps the weights that do best on the validation images, as `fit` does."""

    def __init__(self, network: nn.Module, batches: BatchLoader, compute: Compute) -> None:
        self._network, self._batches, self._compute = network, batches, compute
        self._dice, self._weights = -math.inf, network.state_dict()

    def look(self) -> None:
        """Judge the network as it is; it is to train afterwards."""
        dice = self._judge(self._network.eval())
        self._network.train()
        if dice > self._dice:
            self._dice, self._weights = dice, copy.deepcopy(self._network.state_dict())

    def restore(self) -> None:
        """Give the network those weights back."""
        self._network.load_state_dict(self._weights)

    @torch.inference_mode()
    def _judge(self, network: nn.Module) -> float:
        parts = []
        for batch in self._batches.validation():
            there = batch.to(self._compute.device)
            with self._compute.autocast():
                logits = network(there.image)
            parts.append(count(logits > 0, there.mask, there.valid))
        return join(parts).mean().dice


def _forever(batches: BatchLoader) -> Generator[Batch]:
    for epoch in itertools.count(1):
        yield from batches.epoch(epoch)
