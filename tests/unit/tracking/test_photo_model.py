"""How the registered model reads a photo, and run-length encoding."""

import io

import numpy as np
import pytest
from PIL import Image

from segmentation.tracking.registry.photo_model import PhotoError, read_photo, run_lengths


def test_a_photo_is_read_as_it_is_displayed_or_refused_with_a_reason() -> None:
    def png(image: Image.Image, **options: object) -> bytes:
        stream = io.BytesIO()
        image.save(stream, "PNG", **options)
        return stream.getvalue()

    clear = Image.new("RGBA", (3, 2), (255, 0, 0, 0))
    assert np.array_equal(read_photo(png(clear)), np.full((2, 3, 3), 255))
    grey = Image.new("L", (3, 2), 7)
    assert np.array_equal(read_photo(png(grey)), np.full((2, 3, 3), 7))
    frames = [Image.new("L", (3, 2), shade) for shade in (0, 9)]
    animation = png(frames[0], save_all=True, append_images=frames[1:])
    for content, reason in (
        (b"", "is empty"),
        (b"hello", "is not a JPEG, PNG, GIF or WebP file"),
        (png(Image.new("I;16", (3, 2))), "expected 8 bits a sample"),
        (animation, "is an animation"),
        (png(Image.new("1", (10_000, 7_000))), "at most 64,000,000 are read"),
        (png(Image.new("RGB", (50, 50), (1, 2, 3)))[:60], "cannot be decoded"),
    ):
        with pytest.raises(PhotoError, match=reason):
            read_photo(content)


def test_run_lengths_equal_those_written_by_hand() -> None:
    # Down the columns: 0 1 | 1 1 | 0 0.
    assert run_lengths(np.array([[0, 1, 0], [1, 1, 0]], bool)) == {
        "size": [2, 3],
        "counts": [1, 3, 2],
    }
    assert run_lengths(np.ones((2, 2), bool))["counts"] == [0, 4]
    assert run_lengths(np.zeros((2, 2), bool))["counts"] == [4]
