"""Training for so many seconds: how many epochs that is, and whether it stays so."""

import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any

from segmentation.training.schedule import Schedule

_DRIFT = 0.03  # of the budget; less is left to chance
_SURE = 0.1  # of the budget must be over before the rehearsal is doubted


class Budget:
    """Fits the number of epochs to a time."""

    def __init__(
        self, asked: float, costs: Sequence[tuple[float, float]], rehearsed: float = 0.0
    ) -> None:
        """Take what a rehearsal measured.

        Args:
            asked: seconds that training may take, the rehearsal included.
            costs: (share of training, seconds an epoch), up to where an epoch takes how long, with
                its validation; the last share is 1.
            rehearsed: seconds that the rehearsal took.
        """
        self.asked = asked
        self._seconds = asked - rehearsed
        self._costs = list(costs)
        self._started: float | None = None
        self._used = 0.0  # seconds, by a process that was stopped
        self._expected = 0.0  # seconds that the epochs so far should have taken
        #: How the plan had to be changed, in words.
        self.changes: list[str] = []

    def __str__(self) -> str:
        """Say what was asked, and how the plan was changed."""
        return "; ".join([f"{self.asked:g} s", *self.changes])

    def epochs(self) -> int:
        """Return how many fit, at least 1."""
        return max(1, round(self._seconds / self._mean_cost(0)))

    def expected(self, epochs: int) -> float:
        """Return the seconds of a training of so many epochs, the rehearsal included."""
        return self.asked - self._seconds + epochs * self._mean_cost(0)

    def start(self) -> None:
        """Start the clock, or let it run on."""
        self._started = time.perf_counter() - self._used

    def state(self) -> dict[str, Any]:
        """Return what `restored` needs."""
        return {
            "asked": self.asked,
            "seconds": self._seconds,
            "costs": self._costs,
            "expected": self._expected,
            "changes": self.changes,
            "used": self._used if self._started is None else time.perf_counter() - self._started,
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> "Budget":
        """Return the budget that `state` was taken of; time that passed since does not count."""
        costs = [(float(until), float(cost)) for until, cost in state["costs"]]
        budget = cls(state["asked"], costs, state["asked"] - state["seconds"])
        budget._expected, budget._used = state["expected"], state["used"]
        budget.changes = list(state["changes"])
        return budget

    def correct(self, plan: Schedule, done: int) -> None:
        """Change a plan after an epoch if its end would come too early or too late."""
        if done >= plan.epochs or self._started is None:
            return
        used = time.perf_counter() - self._started
        before, progress = plan.progress(done), plan.progress(done + 1)
        self._expected += self._mean_cost(before, progress)
        if used < _SURE * self._seconds:
            return
        left = plan.epochs - done
        # What the rehearsal did not see, such as tracking, comes with each epoch of any size.
        cost = max(0.0, self._mean_cost(progress) + (used - self._expected) / done)
        if cost == 0:
            return
        if abs(used + left * cost - self._seconds) <= _DRIFT * self._seconds:
            return
        epochs = done + max(1, round((self._seconds - used) / cost))
        if epochs != plan.epochs:
            self.changes.append(f"{plan.epochs} to {epochs} after epoch {done}")
            plan.change(done, epochs)

    def _mean_cost(self, start: float, end: float = 1.0) -> float:
        """Return the seconds of a mean epoch between two shares of training."""
        bounds = [0.0, *(until for until, _ in self._costs)]
        total = 0.0
        for (low, high), (_, cost) in zip(itertools.pairwise(bounds), self._costs, strict=True):
            total += max(0.0, min(high, end) - max(low, start)) * cost
        return total / (end - start)
