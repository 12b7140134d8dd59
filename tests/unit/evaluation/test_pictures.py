"""Pictures show what they say, whatever the shape of the photo."""

import numpy as np
import pytest
from matplotlib import style

from segmentation.evaluation.pictures import (
    curves,
    encode_figure,
    glance,
    legend,
    panel,
    progress,
    sheet,
)


def test_colors_tell_hits_from_false_and_missed_pixels() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    mask, said = np.zeros((40, 40), bool), np.zeros((40, 40), bool)
    mask[:, 10:30], said[:, 20:40] = True, True
    outcome = panel(image, mask, said, 40)[:, -40:]
    nothing, missed, hit, false = (outcome[20, x] for x in (5, 15, 25, 35))
    assert nothing.tolist() == [0, 0, 0]
    assert missed.argmax() == 2
    assert hit.argmax() == 1
    assert false.argmax() == 0


@pytest.mark.parametrize(("height", "width"), [(2, 3000), (3000, 2), (1, 1), (333, 500)])
def test_photos_of_any_shape_have_a_panel_of_bounded_size(height: int, width: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    mask = np.zeros((height, width), bool)
    picture = panel(image, mask, mask, 96)
    assert picture.shape[0] == 96
    assert 72 <= picture.shape[1] <= 3 * 4 * 96 + 8
    assert sheet([picture] * 3, ["a", "b", "c"], 2, legend("pet")).shape[0] > 2 * 96


def test_progress_shows_each_moment_in_a_column() -> None:
    images, masks = np.zeros((2, 20, 20, 3), np.uint8), np.ones((2, 20, 20), bool)
    # Right from epoch 50 on.
    moments = {epoch: masks if epoch >= 50 else ~masks for epoch in (0, 20, 40, 60, 80, 99)}
    page = progress(["a", "b"], images, masks, moments, 20, legend("pet"))
    assert page.shape[1] == 32 * 8
    outcomes = [page[-18, 32 * column + 16] for column in range(2, 8)]
    assert [outcome.argmax() for outcome in outcomes] == [2, 2, 2, 1, 1, 1]  # missed, then found


def test_curves_are_the_same_whatever_style_a_notebook_has_set() -> None:
    names = ("val/dice", "val/iou", "val/accuracy", "train/loss", "val/loss")
    history = {name: [0.3, 0.5, 0.4] for name in names}
    drawn = encode_figure(curves(history, 2, 0.5, "pet"))
    with style.context("ggplot"):
        assert encode_figure(curves(history, 2, 0.5, "pet")) == drawn


@pytest.mark.parametrize("number", [1, 8])
def test_at_a_glance_pets_are_seen_near_the_top_of_a_square_under_the_legend(number: int) -> None:
    masks = np.ones((number, 20, 20), bool)
    images, key = np.zeros((number, 20, 20, 3), np.uint8), legend("pet")
    page = glance(["a"] * number, images, masks, masks, key)
    assert page.shape[0] == page.shape[1]
    first_line = page[10].tolist()
    places = [first_line.index(list(color)) for color in key]
    assert places == sorted(places)
    photo = np.flatnonzero((page[:, 30] == 0).all(axis=1))
    assert (photo[0] < 80, photo[100] < 180) == (True, True)
