"""Variants keep image and mask together, keep masks binary, and depend on their numbers alone."""

from collections.abc import Callable

import albumentations as A  # noqa: N812
import numpy as np
import pytest

from segmentation.augment import Augmenter, MaskError
from segmentation.drawing import BREEDS, draw
from segmentation.transforms import DRAWN, Colour, Compose, Geometry, Vary


def sample(size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """A white disc on black, off the middle, and its flags; the last row does not count."""
    rows, columns = np.mgrid[:size, :size]
    disc = (rows - 20) ** 2 + (columns - 40) ** 2 < 14**2
    image = np.repeat(disc[..., None], 3, axis=-1).astype(np.uint8) * 255
    flags = np.where(disc, 3, 2).astype(np.uint8)
    flags[-1] = 0
    return image, flags


@pytest.mark.parametrize("strength", ["none", "light", "strong"])
@pytest.mark.parametrize("side", [32, 64])
def test_masks_stay_binary_and_stay_on_their_image(strength: str, side: int) -> None:
    augment = Augmenter(strength, seed=0)
    image, flags = sample()
    agreement = []
    for key in range(60):
        variant, moved = augment(image, flags, epoch=1, key=key, side=side)
        assert variant.shape == (side, side, 3)
        assert variant.dtype == np.uint8
        assert set(np.unique(moved)) <= {0, 2, 3}
        grey = variant.mean(axis=-1)
        # Colours change, but the disc stays the brighter part: split half way.
        bright = grey > (grey.min() + grey.max()) / 2
        if (moved == 3).any():
            agreement.append((bright == (moved == 3)).mean())
    assert np.mean(agreement) > 0.97


def test_none_changes_nothing() -> None:
    image, flags = sample()
    variant, moved = Augmenter("none", seed=0)(image, flags, 1, 0, 64)
    assert np.array_equal(variant, image)
    assert np.array_equal(moved, flags)


MIDDLE = dict.fromkeys(DRAWN, 0.5)
NO_COLOUR = Colour(brightness=0, contrast=0, saturation=0, hue=0, grey=0, share=0)
STILL = Geometry(mirror=0, zoom=2, rotation=90, shear=0, shift=0.25)


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        ({}, [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]]),
        ({"rotation": 0.0}, [[4, 8, 12, 16], [3, 7, 11, 15], [2, 6, 10, 14], [1, 5, 9, 13]]),
        ({"down": 0.0}, [[5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16], [9, 10, 11, 12]]),
    ],
    ids=["as it is", "a quarter turn to the left", "a row up, mirrored at the edge"],
)
def test_a_warp_by_hand(drawn: dict[str, float], expected: list[list[int]]) -> None:
    image = np.arange(1, 17, dtype=np.uint8).reshape(4, 4)
    warp = Compose([Vary(STILL, NO_COLOUR)])
    rgb = np.repeat(image[..., None], 3, axis=-1)
    variant = warp(image=rgb, mask=image, draws={**MIDDLE, **drawn}, side=4)
    assert variant["mask"].tolist() == expected
    assert variant["image"][..., 0].tolist() == expected


def test_a_mirror_by_hand() -> None:
    image = np.arange(16, dtype=np.uint8).reshape(4, 4)
    mirrored = Vary(Geometry(mirror=1, zoom=1, rotation=0, shear=0, shift=0), NO_COLOUR)
    rgb = np.repeat(image[..., None], 3, axis=-1)
    variant = Compose([mirrored])(image=rgb, mask=image, draws=MIDDLE, side=4)
    assert np.array_equal(variant["mask"], image[:, ::-1])
    assert np.array_equal(variant["image"], rgb[:, ::-1])


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        ({}, (100, 150, 50)),
        # Half as bright again: all by 1.5.
        ({"brightness": 1.0}, (150, 225, 75)),
        # Half the contrast: half way to the mean luma, 0.299 * 100 + 0.587 * 150 + 0.114 * 50.
        ({"contrast": 0.0}, (112, 137, 87)),
        # No colour: the luma itself, 123.65.
        ({"grey": 0.0}, (124, 124, 124)),
    ],
    ids=["as it is", "brightness", "contrast", "grey"],
)
def test_a_recolouring_by_hand(drawn: dict[str, float], expected: tuple[int, ...]) -> None:
    colour = Colour(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.1, grey=0.5, share=1)
    image = np.full((2, 2, 3), (100, 150, 50), np.uint8)
    recolour = Compose([Vary(STILL, colour)])
    variant = recolour(image=image, draws={**MIDDLE, **drawn}, side=2)["image"]
    assert abs(variant.astype(int) - expected).max() <= 1


def test_hue_turns_colours_and_leaves_grey_and_brightness() -> None:
    colour = Colour(brightness=0, contrast=0, saturation=0, hue=0.5, grey=0, share=1)
    half_a_turn = {**MIDDLE, "hue": 0.0}
    grey, red = colour.matrix(half_a_turn, (0, 0, 0)), np.array([255, 0, 0, 1])
    assert grey is not None
    assert grey @ (80, 80, 80, 1) == pytest.approx((80, 80, 80), abs=0.5)
    turned = grey @ red
    assert turned[0] < turned[1]
    assert turned[0] < turned[2]
    assert turned @ (0.299, 0.587, 0.114) == pytest.approx(0.299 * 255, abs=0.5)


def test_draws_depend_on_seed_epoch_and_index_alone() -> None:
    pixels, trimap = draw(BREEDS[0], np.random.default_rng(0))
    image, flags = pixels[:64, :64], np.where(trimap[:64, :64] == 2, 2, 3).astype(np.uint8)
    one, two = Augmenter("light", seed=5), Augmenter("light", seed=5)
    for _ in range(7):
        two(image, flags, 1, 99, 64)  # another history
    for epoch, index in ((1, 0), (2, 0), (1, 1)):
        a, b = one(image, flags, epoch, index, 64), two(image, flags, epoch, index, 64)
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    first = one(image, flags, 1, 0, 64)[0]
    for other in (
        one(image, flags, 2, 0, 64)[0],
        one(image, flags, 1, 1, 64)[0],
        Augmenter("light", seed=6)(image, flags, 1, 0, 64)[0],
    ):
        assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    "spoil",
    [lambda mask: mask * 2, lambda mask: mask * 85, lambda mask: mask.astype(np.float32) / 2],
    ids=["doubled", "stretched", "blurred"],
)
def test_a_transform_that_spoils_masks_is_noticed(
    monkeypatch: pytest.MonkeyPatch, spoil: Callable[[np.ndarray], np.ndarray]
) -> None:
    class Spoiling(A.DualTransform):  # type: ignore[misc]
        def apply(self, img: np.ndarray, **_: object) -> np.ndarray:
            return img

        def apply_to_mask(self, mask: np.ndarray, **_: object) -> np.ndarray:
            return spoil(mask)

    monkeypatch.setattr("segmentation.augment._pipeline", lambda _: [Spoiling(p=1)])
    with pytest.raises(MaskError, match="nearest"):
        Augmenter("light", seed=0)(*sample(), epoch=1, key=0, side=64)
