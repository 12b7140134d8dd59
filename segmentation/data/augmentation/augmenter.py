"""Augmentation whose draws depend on seed, epoch and image alone."""

from collections.abc import Sequence

import numpy as np

from segmentation.data.augmentation.transforms import (
    DRAWS,
    Color,
    Compose,
    Geometry,
    Vary,
)
from segmentation.data.images.examples import Bytes
from segmentation.data.own_augmentation import Pipeline

_PIPELINES = {
    "none": (
        Geometry(mirror=0, zoom=1, rotation=0, shear=0, shift=0),
        Color(brightness=0, contrast=0, saturation=0, hue=0, gray=0, share=0),
    ),
    "light": (
        Geometry(mirror=0.5, zoom=1.28, rotation=15, shear=0, shift=0.1),
        Color(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.03, gray=0, share=0.8),
    ),
    "strong": (
        Geometry(mirror=0.5, zoom=1.5, rotation=25, shear=0.15, shift=0.1),
        Color(brightness=0.4, contrast=0.4, saturation=0.5, hue=0.03, gray=0.1, share=0.8),
    ),
}


def own_pipeline(augment: str, size: int) -> Pipeline | None:
    """Return the pipeline of a file, tried at so many pixels a side; None for one of ours.

    Raises:
        ConfigError: it cannot be used.
    """
    return None if augment in _PIPELINES else Pipeline(augment, size)


class Augmenter:
    """Draws variants of images and masks; the same one for the same (seed, epoch, key)."""

    def __init__(self, strength: str, seed: int, own: Pipeline | None = None) -> None:
        """Build the pipeline `none`, `light` or `strong`, or take a person's own."""
        self._compose = Compose([Vary(*_PIPELINES["none" if own else strength])])
        self._seed, self._own = seed, own

    def __call__(
        self, images: Bytes, flags: Bytes, epoch: int, keys: Sequence[int], size: int
    ) -> tuple[Bytes, Bytes]:
        """Return a variant of each image.

        Args:
            images: uint8 (N, S, S, 3), RGB.
            flags: uint8 (N, S, S), `PET_BIT` and `COUNTS_BIT` of each pixel.
            epoch: number of the pass over the data.
            keys: N numbers, each an image's own, at least 0.
            size: the variants' height and width, in pixels.

        Returns:
            uint8 (N, size, size, 3) and uint8 (N, size, size), as what came in.
        """
        if self._own:
            entropy = [np.random.SeedSequence([self._seed, epoch, key]) for key in keys]
            numbers = [int(one.generate_state(1)[0]) for one in entropy]
            pairs = map(self._own, images, flags, numbers)
            images, flags = (np.stack(part) for part in zip(*pairs, strict=True))
            if size == images.shape[1]:
                return images, flags
        draws = [self._draw(epoch, key) for key in keys]
        varied = self._compose(images=images, masks=flags, draws=draws, size=size)
        return varied["images"], varied["masks"]

    def _draw(self, epoch: int, key: int) -> dict[str, float]:
        """Return what is drawn for an image in an epoch, by name.

        Albumentations' own generator is not used. Each loader process has a copy of it, and would
        repeat the same draws in every process and epoch unless it was seeded before each image,
        which takes as long as a variant.
        """
        # As an array: NumPy takes longer over a list than over drawing.
        entropy = np.array([self._seed, epoch, key], np.uint32)
        numbers = np.random.default_rng(entropy).random(len(DRAWS)).tolist()
        return dict(zip(DRAWS, numbers, strict=True))
