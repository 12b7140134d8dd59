"""The one-cycle schedule, progressive resizing, and a schedule whose end may move."""

import pytest
import torch

from segmentation.training.schedule import Schedule, one_cycle, resolution_at, resolution_schedule


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
    # Up to multiples of 16.
    assert resolution_schedule(100, 16) == [(0.4, 64), (0.7, 80), (1.0, 100)]
    assert resolution_schedule(48, 16) == [(0.4, 32), (1.0, 48)]  # three quarters would be 48 again
    assert resolution_schedule(32, 16) == [(1.0, 32)]  # at half the size one pixel would be left
    stages = resolution_schedule(128, 16)
    sizes = [resolution_at(stages, progress) for progress in (0, 0.39, 0.4, 0.69, 0.7, 0.99, 1)]
    assert sizes == [64, 64, 96, 96, 128, 128, 128]


def test_a_changed_schedule_goes_on_from_where_it_was() -> None:
    schedule = Schedule(epochs=10, steps=2)
    schedule.change(done=4, epochs=6)
    assert schedule.epochs == 6
    assert schedule.progress(5) == pytest.approx(0.4)
    assert schedule.progress(5, 1) == pytest.approx(0.4 + 0.6 / 4)
    assert schedule.progress(7) == 1
    schedule.change(done=5, epochs=8)
    assert schedule.progress(6) == pytest.approx(0.7)
    assert schedule.progress(8) == pytest.approx(0.9)
