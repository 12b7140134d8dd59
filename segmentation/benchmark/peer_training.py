"""A peer's network trained as well as ours is, within a time that is used up exactly."""

import contextlib
import itertools
import time
from collections.abc import Generator

import torch
from torch import Tensor, nn

from segmentation.batches import Batch, Batches
from segmentation.benchmark.ours import Timed
from segmentation.devices import Compute
from segmentation.schedule import RISE, between, one_cycle
from segmentation.training import Criterion

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
    batches: Batches,
    compute: Compute,
) -> Timed:
    """Train with AdamW and one-cycle, the schedule a function of the time that is over.

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
    criterion = Criterion(learned)
    images, started = 0, time.perf_counter()
    with contextlib.closing(_forever(batches)) as following:
        while (elapsed := time.perf_counter() - started) < seconds:
            share, beta = rate_and_momentum(elapsed / seconds)
            for group in optimizer.param_groups:
                group["lr"], group["betas"] = lr * share, (beta, group["betas"][1])
            batch = next(following).to(compute.device)
            with compute.autocast():
                logits: Tensor = network(batch.image)
            loss = criterion(logits, batch.mask, batch.valid)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            images += len(batch.image)
    return Timed(
        network=network, seconds=elapsed, images=images, epochs=images / batches.train_size
    )


def _forever(batches: Batches) -> Generator[Batch]:
    for epoch in itertools.count(1):
        yield from batches.epoch(epoch)
