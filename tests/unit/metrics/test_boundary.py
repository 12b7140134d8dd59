"""Outlines and their F-score: small ones by hand, and the definition."""

import math

import numpy as np
import pytest

from segmentation.metrics.boundary import Mask, boundary_f, outline


def half(begin: int, height: int = 40, width: int = 30) -> Mask:
    """Everything from the column `begin` on: its outline is that column."""
    mask = np.zeros((height, width), bool)
    mask[:, begin:] = True
    return mask


def by_comparing_all(mask: Mask, prediction: Mask, tolerance: float) -> float:
    reach = math.ceil(tolerance * math.hypot(*mask.shape))

    def near(some: Mask, others: Mask) -> float:
        here, there = np.argwhere(some), np.argwhere(others)
        distances = np.hypot(*(here[:, None] - there[None]).transpose(2, 0, 1))
        return float((distances.min(axis=1) <= reach).mean())

    true, predicted = outline(mask), outline(prediction)
    if not true.any() or not predicted.any():
        same = not true.any() and not predicted.any() and bool((mask == prediction).all())
        return float(same)
    precision, recall = near(predicted, true), near(true, predicted)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def test_an_outline_is_what_touches_the_outside_and_the_photos_edge_is_none() -> None:
    mask = np.zeros((9, 9), bool)
    mask[2:7, 2:7] = True  # 5 x 5, of which 3 x 3 are inside
    assert outline(mask).sum() == 16
    assert not outline(mask)[3:6, 3:6].any()
    assert np.argwhere(outline(half(10))[0]).ravel().tolist() == [10]
    for plain in (np.ones((4, 4), bool), np.zeros((4, 4), bool)):
        assert not outline(plain).any()
    lone = np.zeros((3, 3), bool)
    lone[1, 1] = True
    assert (outline(lone) == lone).all()
    diagonal = np.zeros((3, 3), bool)  # a corner alone does not make a pixel an outline's
    diagonal[2, 2] = True
    assert not outline(~diagonal)[1, 1]


def test_outlines_meet_within_a_tolerance_that_is_rounded_up() -> None:
    # 600 x 800 has a diagonal of 1,000, so 7.5, so 8 pixels.
    assert boundary_f(half(100, 600, 800), half(108, 600, 800)) == 1
    assert boundary_f(half(100, 600, 800), half(109, 600, 800)) == 0


def test_without_an_outline() -> None:
    nothing, everything = np.zeros((40, 30), bool), np.ones((40, 30), bool)
    for mask in (nothing, everything):
        assert boundary_f(mask, mask) == 1
        assert boundary_f(mask, ~mask) == 0  # neither has an outline, and all is wrong
        assert boundary_f(mask, half(10)) == boundary_f(half(10), mask) == 0


@pytest.mark.parametrize("seed", range(10))
def test_on_random_masks_it_is_what_its_definition_says(seed: int) -> None:
    random = np.random.default_rng(seed)
    height, width = random.integers(1, 20, 2)
    mask, other = random.random((height, width)) < 0.7, random.random((height, width)) < 0.4
    for tolerance in (0.0, 0.01, 0.1, 0.3):
        expected = by_comparing_all(mask, other, tolerance)
        assert boundary_f(mask, other, tolerance) == pytest.approx(expected)
        assert boundary_f(other, mask, tolerance) == pytest.approx(expected)
