"""Hand-computed scores and losses."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from segmentation.metrics.segmentation import Counts, bootstrap_interval, count, soft_dice_losses


def images(*rows: str) -> Tensor:
    """One image of one row each: `x` is 1, anything else 0."""
    return torch.tensor([[[[float(pixel == "x") for pixel in row]]] for row in rows])


def counted(predicted: Tensor, truth: Tensor, valid: Tensor | None = None) -> Counts:
    return count(predicted.bool(), truth, torch.ones_like(truth) if valid is None else valid)


def test_scores_of_two_images_by_hand() -> None:
    counts = counted(images("xx..", "xxxx"), images("x.x.", "xx.."))
    # first: TP 1, FP 1, FN 1, TN 1; second: TP 2, FP 2, FN 0, TN 0
    assert counts.dice().tolist() == pytest.approx([2 / 4, 4 / 6])
    assert counts.iou().tolist() == pytest.approx([1 / 3, 2 / 4])
    assert counts.accuracy().tolist() == pytest.approx([2 / 4, 2 / 4])
    assert counts.mean().dice == pytest.approx((0.5 + 2 / 3) / 2)
    # pooled: TP 3, FP 3, FN 1, TN 1
    assert counts.pooled().dice == pytest.approx(6 / 10)
    assert counts.pooled().iou == pytest.approx(3 / 7)
    assert counts.pooled().accuracy == pytest.approx(4 / 8)
    assert counts.pet_share() == pytest.approx(4 / 8)


def test_empty_masks_and_ignored_pixels_follow_the_documented_rule() -> None:
    counts = counted(images("....", "x...", "...."), images("....", "....", "...x"))
    assert counts.dice().tolist() == counts.iou().tolist() == [1, 0, 0]
    assert counts.accuracy().tolist() == [1, 0.75, 0.75]
    counts = counted(images("x.x."), images("xx.."), images("x..x"))
    assert [n.item() for n in (counts.tp, counts.fp, counts.fn, counts.tn)] == [1, 0, 0, 1]


def test_baselines_are_what_trivial_predictions_score_on_the_same_masks() -> None:
    truth = images("xx..", "x...", "xxx.")
    counts = counted(images("x...", "....", "xxxx"), truth)
    assert counts.all_pet().mean() == counted(torch.ones_like(truth), truth).mean()
    assert counts.all_background().mean() == counted(torch.zeros_like(truth), truth).mean()
    # hand-computed: Dice of "all pet" is 2p / (1 + p)
    expected = np.mean([2 * p / (1 + p) for p in (0.5, 0.25, 0.75)])
    assert counts.all_pet().mean().dice == pytest.approx(expected)
    assert counts.all_background().mean().accuracy == pytest.approx(0.5)


def test_the_interval_holds_the_mean_narrows_with_images_and_repeats() -> None:
    generator = np.random.default_rng(0)
    few, many = generator.uniform(0.6, 1, 20), generator.uniform(0.6, 1, 500)
    low, high = bootstrap_interval(few)
    assert low < few.mean() < high
    assert bootstrap_interval(few) == (low, high)
    # The normal approximation, which holds for such values: 1.96 standard errors to either side.
    error = 1.96 * many.std() / math.sqrt(500)
    expected = many.mean() - error, many.mean() + error
    assert bootstrap_interval(many) == pytest.approx(expected, abs=0.15 * error)


def test_soft_dice_loss_by_hand() -> None:
    truth = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]]]])
    logits = torch.tensor([[[[0.0, 0.0, 0.0, 0.0]]]])
    # probabilities 1/2: overlap 1, sums 2 and 2
    expected = 1 - (2 * 1 + 1) / (4 + 1)
    assert soft_dice_losses(logits, truth, torch.ones_like(truth)).item() == pytest.approx(expected)
    valid = torch.tensor([[[[1.0, 0.0, 0.0, 0.0]]]])
    expected = 1 - (2 * 0.5 + 1) / (0.5 + 1 + 1)
    assert soft_dice_losses(logits, truth, valid).item() == pytest.approx(expected)
