"""The results of several trainings on the same images, and who is better."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from segmentation.metrics.significance import Comparison, compare, seed_spread

#: What our own trainings are called.
OURS = "ours"

LEVEL = 0.95
_HELD_AGAINST_ALL = 90  # seconds, after which ours is to be better than peers after any time


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """One training, judged.

    Attributes:
        name: `ours`, or the peer's.
        budget: seconds of training that were allowed.
        seed: of weights, order and augmentation.
        seconds: of training that it really took.
        epochs: passes over the images.
        dice: float64 (N,), of each image.
    """

    name: str
    budget: int
    seed: int
    seconds: float
    epochs: float
    dice: NDArray[np.float64]

    @property
    def key(self) -> str:
        """Name and budget, as metrics have them."""
        return f"{self.name}_{self.budget}s"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bout:
    """Ours against a peer.

    Attributes:
        ours, peer: budgets in seconds.
        name: the peer's.
        comparison: mean Dice of ours less that of the peer.
    """

    ours: int
    peer: int
    name: str
    comparison: Comparison

    @property
    def key(self) -> str:
        """What is compared, as metrics have it."""
        return f"ours_{self.ours}s-{self.name}_{self.peer}s"


def bouts(results: Sequence[Result]) -> Iterator[Bout]:
    """Compare ours with each peer at the same budget, and ours at 90 s with the peers at every one.

    Each interval by itself covers 95 %. Only seeds that both sides have count; with one seed alone
    the interval speaks of other images, not of other trainings.
    """
    budgets = sorted({result.budget for result in results})
    pairs = [(budget, budget) for budget in budgets]
    if _HELD_AGAINST_ALL in budgets:
        pairs += [(_HELD_AGAINST_ALL, other) for other in budgets if other != _HELD_AGAINST_ALL]
    names = dict.fromkeys(result.name for result in results if result.name != OURS)
    for mine, other in pairs:
        for name in names:
            ours, peer = _of(results, OURS, mine), _of(results, name, other)
            seeds = sorted(set(ours) & set(peer))
            if seeds:
                first = np.stack([ours[seed] for seed in seeds])
                second = np.stack([peer[seed] for seed in seeds])
                spread = seed_spread([first, second])
                yield Bout(
                    ours=mine,
                    peer=other,
                    name=name,
                    comparison=compare(first, second, spread, LEVEL),
                )


def _of(results: Sequence[Result], name: str, budget: int) -> dict[int, NDArray[np.float64]]:
    """Return the scores of a side by seed."""
    return {r.seed: r.dice for r in results if (r.name, r.budget) == (name, budget)}
