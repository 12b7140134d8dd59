"""The one-cycle schedule, progressive resizing, and a plan whose end may move."""

import pytest
import torch

from segmentation.training.schedule import Schedule, one_cycle, resolution_at, resolution_schedule
from segmentation.training.time_budget import Budget


def test_one_cycle_is_pytorchs() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1)
    steps = 200
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1, total_steps=steps + 1)
    for step in range(steps):
        # PyTorch's peak is a step earlier: it counts the steps in between.
        assert one_cycle(step / steps) == pytest.approx(theirs.get_last_lr()[0], abs=0.02)
        optimizer.step()
        theirs.step()
    assert one_cycle(0) == pytest.approx(1 / 25)
    assert one_cycle(0.3) == 1
    assert one_cycle(1) == pytest.approx(1 / 25 / 1e4, rel=1e-9)


def test_stages_by_hand() -> None:
    assert resolution_schedule(128, 16) == [(0.4, 64), (0.7, 96), (1.0, 128)]
    assert resolution_schedule(100, 16) == [
        (0.4, 64),
        (0.7, 80),
        (1.0, 100),
    ]  # up to multiples of 16
    assert resolution_schedule(48, 16) == [(0.4, 32), (1.0, 48)]  # three quarters would be 48 again
    assert resolution_schedule(32, 16) == [(1.0, 32)]  # at half the size one pixel would be left
    plan = resolution_schedule(128, 16)
    sides = [resolution_at(plan, progress) for progress in (0, 0.39, 0.4, 0.69, 0.7, 0.99, 1)]
    assert sides == [64, 64, 96, 96, 128, 128, 128]


def test_a_plan_counts_steps() -> None:
    plan = Schedule(epochs=4, steps=5)
    assert plan.progress(1) == 0
    assert plan.progress(2, 1) == pytest.approx(6 / 20)
    assert plan.progress(5) == 1
    assert plan.progress(9) == 1


def test_a_changed_plan_goes_on_from_where_it_was() -> None:
    plan = Schedule(epochs=10, steps=2)
    plan.change(done=4, epochs=6)
    assert plan.epochs == 6
    assert plan.progress(5) == pytest.approx(0.4)
    assert plan.progress(5, 1) == pytest.approx(0.4 + 0.6 / 4)
    assert plan.progress(7) == 1
    plan.change(done=5, epochs=8)
    assert plan.progress(6) == pytest.approx(0.7)
    assert plan.progress(8) == pytest.approx(0.9)


#: Seconds an epoch: one for the first half of training, three for the second: two in the mean.
COSTS = [(0.5, 1.0), (1.0, 3.0)]


class Clock:
    """The time that `Budget` is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.mark.parametrize("seconds", [10.0, 90.0, 301.0])
@pytest.mark.parametrize("speed", [0.5, 1.0, 1.7])
def test_a_budget_is_kept_whatever_the_speed(
    monkeypatch: pytest.MonkeyPatch, seconds: float, speed: float
) -> None:
    clock = Clock()
    monkeypatch.setattr("segmentation.training.time_budget.time", clock)
    costs = [(share, cost / 20) for share, cost in COSTS]
    budget = Budget(seconds, costs)
    assert budget.epochs() == round(seconds * 10)
    plan = Schedule(budget.epochs(), steps=3)
    budget.start()
    done = 0
    while done < plan.epochs:
        end = plan.progress(done + 2)
        cost = next((cost for share, cost in costs if end < share), costs[-1][1])
        clock.now += cost / speed
        done += 1
        budget.correct(plan, done)
    assert clock.now - 100 == pytest.approx(seconds, rel=0.05)
    assert bool(budget.changes) == (speed != 1)


def test_a_budget_for_less_than_an_epoch_is_one_epoch_and_says_what_it_takes() -> None:
    assert Budget(0.1, COSTS).epochs() == 1
    assert Budget(0.1, COSTS).expected(1) == pytest.approx(2)
    assert Budget(9.0, COSTS, rehearsed=1.0).expected(4) == pytest.approx(9)
