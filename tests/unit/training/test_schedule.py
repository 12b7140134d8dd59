"""The one-cycle schedule and progressive resizing."""

import pytest

from segmentation.training.schedule import one_cycle, resolution_at, resolution_schedule


def test_one_cycle_rises_to_its_peak_and_ends_near_zero() -> None:
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
