"""Thresholds and calibration: constructed probabilities, and agreement with plain counts."""

from collections.abc import Sequence

import numpy as np
import pytest

from segmentation.evaluation.scoring import count_pixels
from segmentation.metrics.calibration import (
    Histogram,
    calibration_error,
    histogram,
    reliability,
    threshold_curve,
)


def sorted_in(probabilities: Sequence[float], pet: Sequence[int]) -> Histogram:
    mask = np.array([pet], np.uint8)
    return histogram(np.array([probabilities], np.float32), mask, np.ones_like(mask))


def test_a_bin_holds_its_upper_end_and_zero_is_in_the_first() -> None:
    above = float(np.nextafter(np.float32(0.5), np.float32(1)))
    found = sorted_in([0.0, 0.01, 0.011, 0.5, above, 1.0], [0, 1, 0, 1, 0, 1])
    pet, background, total = found
    assert np.flatnonzero(pet).tolist() == [0, 49, 99]
    assert np.flatnonzero(background).tolist() == [0, 1, 50]
    assert total[[0, 49, 99]].tolist() == pytest.approx([0.01, 0.5, 1.0])


def test_the_curve_is_what_plain_counts_give_at_every_threshold() -> None:
    random = np.random.default_rng(0)
    images = []
    for _ in range(5):
        values = random.random((20, 30)).astype(np.float32)
        values[0] = random.choice([0.25, 0.5, 0.75], 30)  # exactly on a threshold
        values[1] = np.nextafter(values[0], np.float32(random.integers(0, 2)))  # right beside it
        mask = (random.random((20, 30)) < values).astype(np.uint8)
        valid = (random.random((20, 30)) < 0.9).astype(np.uint8)
        images.append((values, mask, valid))
    curve = threshold_curve([histogram(*image) for image in images])
    for threshold, dice in curve.items():
        plain = [count_pixels(v > threshold, mask, valid).mean().dice for v, mask, valid in images]
        assert dice == pytest.approx(np.mean(plain), abs=1e-12)


def test_the_calibration_error_by_hand() -> None:
    probabilities = [0.9] * 10 + [0.1] * 30
    bins = reliability([sorted_in(probabilities, [1] * 6 + [0] * 4 + [1] * 3 + [0] * 27)])
    assert [(one.low, one.pixels) for one in bins] == [(0.0, 30), (0.8, 10)]  # upper ends
    assert [one.share for one in bins] == pytest.approx([0.1, 0.6])
    assert [one.probability for one in bins] == pytest.approx([0.1, 0.9])
    # 0.3 off for 10 of 40 pixels, right for the others
    assert calibration_error(bins) == pytest.approx(0.3 * 10 / 40)


def test_the_error_spans_0_to_1_and_weighs_pixels_not_images() -> None:
    assert calibration_error(reliability([sorted_in([1.0, 0.0], [0, 1])])) == 1
    assert calibration_error(reliability([sorted_in([1.0, 0.0], [1, 0])])) == 0
    large, small = sorted_in([1.0] * 9, [1] * 9), sorted_in([1.0], [0])
    assert calibration_error(reliability([large, small])) == pytest.approx(0.1)
