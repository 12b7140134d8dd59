"""Variants keep image and mask together, keep masks binary, and depend on their numbers alone."""

from collections.abc import Callable

import albumentations as A  # noqa: N812
import numpy as np
import pytest

from segmentation.augment import Augmenter, MaskError
from segmentation.drawing import BREEDS, draw


def sample(size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """A white disc on black, off the middle, and its mask."""
    rows, columns = np.mgrid[:size, :size]
    disc = (rows - 20) ** 2 + (columns - 40) ** 2 < 14**2
    image = np.repeat(disc[..., None], 3, axis=-1).astype(np.uint8) * 255
    return image, np.stack([disc, np.ones_like(disc)], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("strength", ["none", "light", "strong"])
def test_masks_stay_binary_and_stay_on_their_image(strength: str) -> None:
    augment = Augmenter(strength, 64, seed=0)
    image, masks = sample()
    agreement = []
    for key in range(60):
        variant, moved = augment(image, masks, epoch=1, key=key)
        assert variant.shape == image.shape
        assert variant.dtype == np.uint8
        assert set(np.unique(moved)) <= {0, 1}
        grey = variant.mean(axis=-1)
        # Colours change, but the disc stays the brighter part: split half way.
        bright = grey > (grey.min() + grey.max()) / 2
        if moved[..., 0].any():
            agreement.append((bright == moved[..., 0]).mean())
    assert np.mean(agreement) > 0.97


def test_draws_depend_on_seed_epoch_and_index_alone() -> None:
    pixels, trimap = draw(BREEDS[0], np.random.default_rng(0))
    image, masks = pixels[:64, :64], np.stack([trimap[:64, :64] == 1] * 2, -1).astype(np.uint8)
    one, two = Augmenter("light", 64, seed=5), Augmenter("light", 64, seed=5)
    for _ in range(7):
        two(image, masks, 1, 99)  # another history
    for epoch, index in ((1, 0), (2, 0), (1, 1)):
        a, b = one(image, masks, epoch, index), two(image, masks, epoch, index)
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    first = one(image, masks, 1, 0)[0]
    for other in (
        one(image, masks, 2, 0)[0],
        one(image, masks, 1, 1)[0],
        Augmenter("light", 64, seed=6)(image, masks, 1, 0)[0],
    ):
        assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    "spoil",
    [lambda mask: mask * 2, lambda mask: mask * 255, lambda mask: mask.astype(np.float32) / 2],
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

    monkeypatch.setattr("segmentation.augment._pipeline", lambda *_: [Spoiling(p=1)])
    with pytest.raises(MaskError, match="nearest"):
        Augmenter("light", 64, seed=0)(*sample(), epoch=1, key=0)
