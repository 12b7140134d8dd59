"""Augmentation: Albumentations pipelines whose draws depend on seed, epoch and image alone."""

import os

# Its import would otherwise ask the network for a newer version.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A  # noqa: N812
import cv2
import numpy as np
from numpy.typing import NDArray

# Images of this size gain nothing from OpenCV's threads, which would compete with the network's.
cv2.setNumThreads(0)

Pixels = NDArray[np.uint8]


class MaskError(Exception):
    """A mask holds something else than 0 and 1: a defect of the pipeline, not of the data."""


class Augmenter:
    """Draws a variant of an image and its mask; the same one for the same (seed, epoch, key)."""

    def __init__(self, strength: str, size: int, seed: int) -> None:
        """Build the pipeline `none`, `light` or `strong` for (`size`, `size`) pixels."""
        self._compose = A.Compose(_pipeline(strength, size), seed=seed)
        self._seed = seed

    def __call__(self, image: Pixels, masks: Pixels, epoch: int, key: int) -> tuple[Pixels, Pixels]:
        """Return the variant.

        Args:
            image: uint8 (H, W, 3), RGB.
            masks: uint8 (H, W, 2) in {0, 1}: the mask, and the pixels that count.
            epoch: number of the pass over the data.
            key: a number of the image's own, at least 0.

        Returns:
            uint8 (H, W, 3), and uint8 (H, W, 2) in {0, 1}.

        Raises:
            MaskError: a transform left other values in the mask.
        """
        # A compose that draws on from its own state repeats itself in every loader process.
        state = np.random.SeedSequence([self._seed, epoch, key]).generate_state(1)
        self._compose.set_random_seed(int(state[0]))
        variant = self._compose(image=image, mask=masks)
        if variant["mask"].dtype != np.uint8 or variant["mask"].max() > 1:
            raise MaskError(
                "augmentation left values other than 0 and 1 in a mask: every geometric transform "
                "must interpolate masks by nearest neighbour"
            )
        return variant["image"], variant["mask"]


def _pipeline(strength: str, size: int) -> list[A.BasicTransform | A.BaseCompose]:
    """Return the transforms; outside the photo lies its mirror image, mask included."""
    mirror = cv2.BORDER_REFLECT_101
    if strength == "none":
        return []
    if strength == "light":
        return [
            A.HorizontalFlip(p=0.5),
            A.Affine(
                scale=(0.8, 1.25),
                rotate=(-15, 15),
                translate_percent=(-0.1, 0.1),
                border_mode=mirror,
                p=0.9,
            ),
            A.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.03, p=0.8),
        ]
    return [
        A.HorizontalFlip(p=0.5),
        A.RandomResizedCrop((size, size), scale=(0.4, 1.0), ratio=(0.75, 1.33), p=0.5),
        A.Affine(
            scale=(0.7, 1.4),
            rotate=(-30, 30),
            shear=(-10, 10),
            translate_percent=(-0.15, 0.15),
            border_mode=mirror,
            p=0.9,
        ),
        A.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.5, hue=0.08, p=0.9),
        A.ToGray(p=0.1),
        A.OneOf([A.GaussianBlur((3, 5)), A.GaussNoise((0.02, 0.1))], p=0.2),
    ]
