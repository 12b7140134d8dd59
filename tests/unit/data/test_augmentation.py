"""Variants keep image and mask together, keep masks binary, and depend on their numbers alone."""

import numpy as np
import pytest
from albumentations import Compose

from segmentation.data.augmentation.transforms import DRAWS, Augmenter, Color, Geometry, Vary
from segmentation.data.synthetic import BREEDS, draw

Pair = tuple[np.ndarray, np.ndarray]


def sample(size: int = 64) -> Pair:
    """A white disc on black, off the middle, and its flags; the last row does not count."""
    rows, columns = np.mgrid[:size, :size]
    disc = (rows - 20) ** 2 + (columns - 40) ** 2 < 14**2
    image = np.repeat(disc[..., None], 3, axis=-1).astype(np.uint8) * 255
    flags = np.where(disc, 3, 2).astype(np.uint8)
    flags[-1] = 0
    return image, flags


def one(augment: Augmenter, pair: Pair, epoch: int = 1, key: int = 0, size: int = 64) -> Pair:
    """A variant of one image, as a batch of one."""
    images, flags = augment(pair[0][None], pair[1][None], epoch, [key], size)
    return images[0], flags[0]


def varied(vary: Vary, image: np.ndarray, **drawn: float) -> Pair:
    """An image, gray or RGB, moved and recolored, and moved as a mask (its first channel)."""
    rgb = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=-1)
    masks, draws = rgb[None, ..., 0].copy(), [{**MIDDLE, **drawn}]
    batch = Compose([vary])(images=rgb[None], masks=masks, draws=draws, size=len(rgb))
    return batch["images"][0], batch["masks"][0]


@pytest.mark.parametrize("strength", ["none", "light", "strong"])
@pytest.mark.parametrize("size", [32, 64])
def test_masks_stay_binary_and_stay_on_their_image(strength: str, size: int) -> None:
    augment = Augmenter(strength, seed=0)
    agreement = []
    for key in range(60):
        variant, moved = one(augment, sample(), key=key, size=size)
        assert variant.shape == (size, size, 3)
        assert variant.dtype == np.uint8
        assert set(np.unique(moved)) <= {0, 2, 3}
        gray = variant.mean(axis=-1)
        # Colors change, but the disc stays the brighter part: split half way.
        bright = gray > (gray.min() + gray.max()) / 2
        if (moved == 3).any():
            agreement.append((bright == (moved == 3)).mean())
    assert np.mean(agreement) > 0.97


MIDDLE = dict.fromkeys(DRAWS, 0.5)
NO_COLOR = Color(brightness=0, contrast=0, saturation=0, hue=0, gray=0, share=0)
STILL = Geometry(mirror=0.4, zoom=2, rotation=90, shear=0, shift=0.25)


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        ({}, [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]]),
        ({"rotation": 0.0}, [[4, 8, 12, 16], [3, 7, 11, 15], [2, 6, 10, 14], [1, 5, 9, 13]]),
        ({"down": 0.0}, [[5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16], [9, 10, 11, 12]]),
        ({"flip": 0.0}, [[4, 3, 2, 1], [8, 7, 6, 5], [12, 11, 10, 9], [16, 15, 14, 13]]),
    ],
    ids=["as it is", "a quarter turn to the left", "a row up, mirrored at the edge", "mirrored"],
)
def test_a_warp_by_hand(drawn: dict[str, float], expected: list[list[int]]) -> None:
    image = np.arange(1, 17, dtype=np.uint8).reshape(4, 4)
    variant, mask = varied(Vary(STILL, NO_COLOR), image, **drawn)
    assert mask.tolist() == expected
    assert variant[..., 0].tolist() == expected


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        ({}, (100, 150, 50)),
        # Half as bright again: all by 1.5.
        ({"brightness": 1.0}, (150, 225, 75)),
        # Half the contrast: half way to the mean luma, 0.299 * 100 + 0.587 * 150 + 0.114 * 50.
        ({"contrast": 0.0}, (112, 137, 87)),
        # No color: the luma itself, 123.65.
        ({"gray": 0.0}, (124, 124, 124)),
        # Half a turn: the luma stays, and what differs from it changes its sign.
        ({"hue": 0.0}, (147, 97, 197)),
    ],
    ids=["as it is", "brightness", "contrast", "gray", "hue"],
)
def test_a_recoloring_by_hand(drawn: dict[str, float], expected: tuple[int, ...]) -> None:
    color = Color(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.5, gray=0.5, share=1)
    image = np.full((2, 2, 3), (100, 150, 50), np.uint8)
    variant, _ = varied(Vary(STILL, color), image, **drawn)
    assert abs(variant.astype(int) - expected).max() <= 1


def test_draws_depend_on_seed_epoch_and_index_alone() -> None:
    photo, trimap = draw(BREEDS[0], np.random.default_rng(0))
    pair = photo[:64, :64], np.where(trimap[:64, :64] == 2, 2, 3).astype(np.uint8)
    this, that = Augmenter("light", seed=5), Augmenter("light", seed=5)
    for _ in range(7):
        one(that, pair, key=99)  # another history
    for epoch, key in ((1, 0), (2, 0), (1, 1)):
        a, b = one(this, pair, epoch, key), one(that, pair, epoch, key)
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    first = one(this, pair)[0]
    others = one(this, pair, epoch=2), one(this, pair, key=1), one(Augmenter("light", seed=6), pair)
    assert not any(np.array_equal(first, other) for other, _ in others)
