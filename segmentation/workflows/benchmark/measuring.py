"""Measurements that take turns, so that a disturbance of the machine hits all of them alike."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.benchmark import Timer
from torch.utils.benchmark.utils.timer import timer

from segmentation.config.training import Config
from segmentation.models.unet import build_unet
from segmentation.runtime.device import Compute
from segmentation.training.trainer import freeze_encoder

#: Measures once and returns a figure, such as seconds.
Case = Callable[[], float]
#: The figures of one case, a round each.
Rounds = NDArray[np.float64]

_LEAST = 0.1  # seconds of a measurement of speed


def interleaved(cases: Mapping[str, Case], repeats: int) -> dict[str, Rounds]:
    """Measure each case in turn, `repeats` times after a round that only warms up.

    Every second round runs backwards: a machine that grows slower or faster favors no case.
    """
    found: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(repeats + 1):
        for name in list(cases)[:: -1 if number % 2 else 1]:
            found[name].append(cases[name]())
    return {name: np.array(values[1:]) for name, values in found.items()}


def seconds(work: Callable[[], object]) -> float:
    """Return how long one call takes, with all that it gives a GPU to do."""
    started = timer()  # waits for the GPU
    work()
    return float(timer() - started)


def per_second(work: Callable[[], object], units: float) -> Case:
    """Return a case that tells how many units, such as images, repeated calls do a second."""
    repeated = Timer("work()", globals={"work": work}, num_threads=torch.get_num_threads())
    return lambda: float(units / repeated.blocked_autorange(min_run_time=_LEAST).median)


def text(rounds: Rounds, form: str = ".1f") -> str:
    """Say median, lowest and highest."""
    return f"{np.median(rounds):{form}} ({rounds.min():{form}} to {rounds.max():{form}})"


def random_batch(images: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return uint8 (N, 3, S, S), channels last, and a float mask (N, 1, S, S) in {0, 1}."""
    image = torch.randint(0, 256, (images, 3, size, size), dtype=torch.uint8)
    mask = (torch.rand(images, 1, size, size) < 0.4).float()
    return image.to(device).contiguous(memory_format=torch.channels_last), mask.to(device)


def bare_step(config: Config, compute: Compute) -> Callable[[Tensor, Tensor], None]:
    """Return a step with nothing around it: forward, BCEWithLogitsLoss, backward, fused AdamW.

    It takes uint8 (N, 3, S, S) and masks (N, 1, S, S), and trains what a training would.
    """
    network = build_unet(config.model, 0)
    freeze_encoder(network, config.training)
    network = network.to(compute.device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    criterion = nn.BCEWithLogitsLoss()

    def step(image: Tensor, mask: Tensor) -> None:
        with compute.autocast():
            logits = network(image)
        loss = criterion(logits.float(), mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step
