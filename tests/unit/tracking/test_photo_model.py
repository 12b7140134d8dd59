"""How the registered model reads a photo, and run-length encoding."""

import numpy as np
import pytest
from PIL import Image

from segmentation.tracking.registry.photo_model import PhotoError, read_photo, run_lengths
from tests.helpers.corpus import saved

FRAMES = [Image.new("L", (3, 2), shade) for shade in (0, 9)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (saved(Image.new("I;16", (3, 2)), "PNG"), "expected 8 bits a sample"),
        (saved(FRAMES[0], "PNG", save_all=True, append_images=FRAMES[1:]), "is an animation"),
    ],
)
def test_what_is_no_photo_is_refused_with_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(PhotoError, match=reason):
        read_photo(content)


def test_run_lengths_equal_those_written_by_hand() -> None:
    # Down the columns: 0 1 | 1 1 | 0 0.
    lengths = run_lengths(np.array([[0, 1, 0], [1, 1, 0]], bool))
    assert lengths == {"size": [2, 3], "counts": [1, 3, 2]}
    assert run_lengths(np.ones((2, 2), bool))["counts"] == [0, 4]
    assert run_lengths(np.zeros((2, 2), bool))["counts"] == [4]
