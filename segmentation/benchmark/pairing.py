"""Measurements that take turns, so that a disturbance of the machine hits every side of them."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch

from segmentation.runtime.device import wait

#: Measures once and returns a figure, such as images a second.
Side = Callable[[], float]


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One figure, measured several times.

    Attributes:
        values: in the order of measurement, at least one.
    """

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one; of an even number the mean of the two in the middle."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The lowest."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The highest."""
        return max(self.values)

    def over(self, other: "Measurement") -> "Measurement":
        """Divide pair by pair: what both sides suffered from at a time cancels.

        Raises:
            ValueError: they were not measured equally often.
        """
        pairs = zip(self.values, other.values, strict=True)
        return Measurement(tuple(one / another for one, another in pairs))

    def times(self, factor: float) -> "Measurement":
        """Return the figure in another unit."""
        return Measurement(tuple(factor * value for value in self.values))

    def metrics(self, name: str) -> dict[str, float]:
        """Return the median under `name`, lowest and highest under that with `_low`, `_high`."""
        return {name: self.median, f"{name}_low": self.low, f"{name}_high": self.high}

    def text(self, digits: int = 1) -> str:
        """Say median and spread in few words."""
        low, high = f"{self.low:.{digits}f}", f"{self.high:.{digits}f}"
        return f"{self.median:.{digits}f} ({low} to {high})"


def interleaved(
    sides: Mapping[str, Side], repeats: int, warm_up: int = 1
) -> dict[str, Measurement]:
    """Measure each side in turn, again and again; every second round backwards.

    Backwards, so that a machine that grows slower or faster favours no side.

    Args:
        sides: what measures, by name.
        repeats: figures of each that count, at least 1.
        warm_up: rounds before those that do not.
    """
    found: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(warm_up + repeats):
        for name in reversed(names) if number % 2 else names:
            value = sides[name]()
            if number >= warm_up:
                found[name].append(value)
    return {name: Measurement(tuple(values)) for name, values in found.items()}


def weighted(figures: Sequence[Measurement], weights: Sequence[float]) -> Measurement:
    """Add up figures of the same rounds, each times its weight, round by round.

    Raises:
        ValueError: they were not measured equally often.
    """
    rounds = zip(*(figure.values for figure in figures), strict=True)
    return Measurement(
        tuple(
            sum(weight * value for weight, value in zip(weights, values, strict=True))
            for values in rounds
        )
    )


def speed(work: Callable[[], object], units: float, device: torch.device, least: float) -> Side:
    """Return a side that tells how many units of work are done a second.

    What works on its own is waited for once a burst of calls, each twice as long as the one before:
    otherwise it would stand still while the next call is prepared.

    Args:
        work: is called until the time is up, at least once.
        units: done by each call, such as images.
        device: waited for, where it works on its own.
        least: seconds for which to go on.
    """

    def measure() -> float:
        calls, burst = 0, 1
        wait(device)
        started = time.perf_counter()
        while True:
            for _ in range(burst):
                work()
            calls += burst
            burst *= 1 if device.type == "cpu" else 2
            wait(device)
            elapsed = time.perf_counter() - started
            if elapsed >= least:
                return calls * units / elapsed

    return measure


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return how long one call takes, with all that it gives a device to do."""
    wait(device)
    started = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - started
