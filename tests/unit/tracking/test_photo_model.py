"""How the registered model reads a photo, and run-length encoding."""

import numpy as np
import pytest
from PIL import Image

from segmentation.tracking.registry.photo_model import PhotoError, read_photo, run_lengths
from tests.helpers.corpus import PHOTO, saved

FRAMES = [Image.new("L", (3, 2), shade) for shade in (0, 9)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"hello", "is not a JPEG, PNG, GIF or WebP file"),
        (saved(Image.new("I;16", (3, 2)), "PNG"), "expected 8 bits a sample"),
        (saved(FRAMES[0], "PNG", save_all=True, append_images=FRAMES[1:]), "is an animation"),
        (saved(Image.new("1", (10_000, 7_000)), "PNG"), "at most 64,000,000 are read"),
        (saved(Image.new("RGB", (50, 50), (1, 2, 3)), "PNG")[:60], "cannot be decoded"),
    ],
)
def test_what_is_no_photo_is_refused_with_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(PhotoError, match=reason):
        read_photo(content)


@pytest.mark.parametrize(
    ("orientation", "way"),
    [
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (4, Image.Transpose.FLIP_TOP_BOTTOM),
        (5, Image.Transpose.TRANSPOSE),
        (6, Image.Transpose.ROTATE_90),
        (7, Image.Transpose.TRANSVERSE),
        (8, Image.Transpose.ROTATE_270),
    ],
)
def test_a_turned_photo_is_read_upright(orientation: int, way: Image.Transpose) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = saved(Image.fromarray(PHOTO[:20]).transpose(way), "PNG", exif=exif)
    assert np.array_equal(read_photo(stored), PHOTO[:20])


def test_run_lengths_equal_those_written_by_hand() -> None:
    # Down the columns: 0 1 | 1 1 | 0 0.
    lengths = run_lengths(np.array([[0, 1, 0], [1, 1, 0]], bool))
    assert lengths == {"size": [2, 3], "counts": [1, 3, 2]}
    assert run_lengths(np.ones((2, 2), bool))["counts"] == [0, 4]
    assert run_lengths(np.zeros((2, 2), bool))["counts"] == [4]
