"""Which training, and which model, is better: numbers by hand, and how often the tests err."""

import numpy as np
import pytest

from segmentation.metrics.significance import Spread, compare, p_value_of_better, seed_spread

LEVEL = 0.05


def test_the_difference_and_its_interval_equal_those_computed_by_hand() -> None:
    first = np.array([[0.8, 0.6, 0.7], [0.9, 0.7, 0.7]])
    second = np.array([[0.7, 0.6, 0.5], [0.7, 0.4, 0.5]])
    found = compare(first, second, Spread(value=0.02, degrees_of_freedom=2), level=0.95)
    # Means over seeds: 0.85, 0.65, 0.7 and 0.7, 0.5, 0.5; differences 0.15, 0.15, 0.2.
    assert found.difference == pytest.approx(1 / 6)
    # Variance over images 1/1200, by 3: 1/3600 with 2 degrees of freedom; between seeds
    # 0.0004 (1/2 + 1/2) with 2. Together 0.00067778 with (0.00067778)^2 / ((1/3600)^2 / 2 +
    # 0.0004^2 / 2) = 3.874 degrees of freedom, of which Student's t at 97.5 % is 2.812.
    half = 2.812 * np.sqrt(1 / 3600 + 0.0004)
    assert found.low == pytest.approx(1 / 6 - half, abs=2e-4)
    assert found.high == pytest.approx(1 / 6 + half, abs=2e-4)
    assert found.images == 3


def test_swapping_the_sides_swaps_the_verdict() -> None:
    small, generator = Spread(value=0.005, degrees_of_freedom=2), np.random.default_rng(0)
    first = 0.8 + 0.01 * generator.standard_normal((2, 40))
    second = 0.7 + 0.01 * generator.standard_normal((2, 40))
    assert compare(first, second, small, 0.95).verdict == "better"
    assert compare(second, first, small, 0.95).verdict == "worse"
    assert "within the noise" in compare(first, first + 0.001, small, 0.95).verdict


def test_the_spread_between_seeds_is_pooled_over_configurations() -> None:
    groups = [np.array([[0.5, 0.7], [0.7, 0.9]]), np.array([[0.1, 0.3], [0.1, 0.3]])]
    # Means 0.6 and 0.8, 0.2 and 0.2: squares 0.02 and 0 over 1 + 1 degrees of freedom.
    assert seed_spread(groups) == pytest.approx((0.1, 2))


@pytest.mark.parametrize(("seeds", "single"), [(0.02, 0.05), (0.0, 0.1), (0.04, 0.01)])
def test_equal_configurations_are_rarely_called_different_but_not_never(
    seeds: float, single: float
) -> None:
    """The interval holds its level where images and seeds both are noisy, and is not absurdly wide.

    Args:
        seeds: standard deviation between trainings of what moves all images alike.
        single: the same of what moves single images.
    """
    generator = np.random.default_rng(1)
    wrong, repeats = 0, 1500
    for _ in range(repeats):
        images = generator.normal(0.8, 0.1, 40)  # hard and easy ones, the same for both sides
        groups = [
            images + generator.normal(0, seeds, (2, 1)) + generator.normal(0, single, (2, 40))
            for _ in range(4)
        ]
        found = compare(groups[0], groups[1], seed_spread(groups), 0.95)
        wrong += found.low > 0 or found.high < 0
    assert 0.002 <= wrong / repeats <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / repeats)


def test_the_chance_of_so_good_a_difference_equals_the_one_counted_by_hand() -> None:
    # Of the 8 ways to set the signs of 0.1, 0.2 and 0.3, one gives 0.6 and one gives 0.4.
    assert p_value_of_better(np.array([0.1, 0.2, 0.3])) == pytest.approx(1 / 8, abs=0.01)
    assert p_value_of_better(np.array([-0.1, 0.2, 0.3])) == pytest.approx(2 / 8, abs=0.01)
    assert p_value_of_better(np.array([-0.1, -0.2, -0.3])) == 1
    assert p_value_of_better(np.zeros(40)) == 1
    # A handful of images never suffices.
    assert p_value_of_better(np.full(4, 0.5)) > LEVEL > p_value_of_better(np.full(6, 0.5))


@pytest.mark.parametrize(
    ("noise", "images"), [("normal", 10), ("heavy tails", 46), ("rare failures", 46)]
)
def test_of_equal_models_one_is_called_better_no_more_often_than_the_level_says(
    noise: str, images: int
) -> None:
    generator = np.random.default_rng(3)
    pairs, wrong = 200, 0
    for _ in range(pairs):
        hard = generator.beta(8, 2, images)  # how easy each image is, for both models alike
        scores = []
        for _ in range(2):
            heavy = noise == "heavy tails"
            own = generator.standard_t(2, images) if heavy else generator.standard_normal(images)
            score = hard + 0.05 * own
            if noise == "rare failures":
                score = np.where(generator.random(images) < 0.05, 0, score)
            scores.append(score.clip(0, 1))
        wrong += p_value_of_better(scores[0] - scores[1]) <= LEVEL
    assert wrong / pairs <= LEVEL + 2 * np.sqrt(LEVEL * (1 - LEVEL) / pairs)
    assert wrong / pairs >= 0.02  # it could not call anything better otherwise


def test_rare_bad_failures_mostly_keep_a_model_out() -> None:
    """A little better on 95 % of images, far worse on 5 %, and no better on average."""
    generator = np.random.default_rng(5)
    wrong = 0
    for _ in range(200):
        failed = generator.random(100) < 0.05
        differences = np.where(failed, -0.38, 0.02) + generator.normal(0, 0.03, 100)
        wrong += p_value_of_better(differences) <= LEVEL
    assert wrong / 200 <= LEVEL


def test_of_models_of_which_one_is_better_the_test_mostly_sees_it() -> None:
    generator = np.random.default_rng(4)
    seen = sum(p_value_of_better(generator.normal(0.02, 0.04, 46)) <= LEVEL for _ in range(200))
    assert seen / 200 > 0.8
