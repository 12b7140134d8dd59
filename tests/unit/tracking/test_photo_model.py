"""How the registered model reads a photo, and run-length encoding."""

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from segmentation.tracking.registry.photo_model import PhotoModel, run_lengths
from tests.helpers.corpus import saved

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize("wrap", [list, np.array, pd.Series, lambda photos: [photos]])
@pytest.mark.parametrize(
    "dress",
    [
        bytes,
        bytearray,
        memoryview,
        lambda content: np.frombuffer(content, np.uint8),
        lambda content: base64.b64encode(content).decode(),
    ],
)
def test_a_photo_is_taken_in_any_dress_and_what_is_none_is_the_default(
    dress: Callable[[bytes], Any], wrap: Callable[[list[Any]], Any]
) -> None:
    photos = [dress(saved(PIXELS))] * 2
    given = np.array([*photos, None], object)[:2] if wrap is np.array else wrap(photos)
    model: Any = PhotoModel()
    model._network = lambda image: image[:, :1] / 255
    usual = model.predict(None, {"image": given}, {"threshold": None, "format": None})
    assert usual["pet_share"].tolist() == [(PIXELS[..., 0] > 127).mean()] * 2
    assert usual["mask"][1].startswith(b"\x89PNG")


def test_run_lengths_equal_those_written_by_hand() -> None:
    # Down the columns: 0 1 | 1 1 | 0 0.
    lengths = run_lengths(np.array([[0, 1, 0], [1, 1, 0]], bool))
    assert lengths == {"size": [2, 3], "counts": [1, 3, 2]}
    assert run_lengths(np.ones((2, 2), bool))["counts"] == [0, 4]
    assert run_lengths(np.zeros((2, 2), bool))["counts"] == [4]
