"""Augmentation whose draws depend on seed, epoch and image alone.

An Albumentations transform does in two passes what would take a dozen. A chain of warps is one
matrix of pixel positions, and a chain of color changes is one matrix of colors, so each image is
warped once and multiplied once, whatever is drawn. What is drawn comes with the call, as the target
`draws`, not from Albumentations' own generator: each loader process has a copy of that, and would
repeat the same draws in every process and epoch unless it was seeded before each image, which takes
as long as a variant.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import cv2
import numpy as np
from albumentations import Compose, DualTransform
from numpy.typing import NDArray

from segmentation.data.augmentation.pipeline import Pipeline
from segmentation.data.images.examples import Bytes

# Images of this size gain nothing from OpenCV's threads, which would compete with the network's.
cv2.setNumThreads(0)

Draws = Mapping[str, float]

#: What is drawn for each variant, uniform in [0, 1), by name. In this order: to insert one would
#: change the variants of every seed.
DRAWS = (
    *("flip", "zoom", "rotation", "shear", "right", "down"),
    *("color", "brightness", "contrast", "saturation", "hue", "gray"),
)

#: Weights of red, green and blue in luma: Recommendation ITU-R BT.601.
_RED, _GREEN, _BLUE = 0.299, 0.587, 0.114
#: From RGB to luma and two axes of color (YIQ, as in NTSC), in which hue is an angle.
_YIQ = np.array([[_RED, _GREEN, _BLUE], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_RGB = np.linalg.inv(_YIQ)
#: RGB to RGB: luma alone; the two axes of color as they are, and a quarter turn further.
_LUMA_PART = _RGB @ np.diag([1, 0, 0]) @ _YIQ
_COLOR_PART = _RGB @ np.diag([0, 1, 1]) @ _YIQ
_TURNED_PART = _RGB @ np.array([[0, 0, 0], [0, 0, -1], [0, 1, 0]]) @ _YIQ


@dataclasses.dataclass(frozen=True, kw_only=True)
class Geometry:
    """How far a variant may be moved; each amount is drawn evenly within its bounds."""

    mirror: float = 0  # how often, in [0, 1]
    zoom: float = 1  # largest factor up, and down by one over it
    rotation: float = 0  # largest angle either way, in degrees
    shear: float = 0  # largest shift of a row by its distance from the middle row
    shift: float = 0  # largest shift either way, as a share of the side

    def matrix(self, draws: Draws, before: int, after: int) -> NDArray[np.float32]:
        """Return float32 (2, 3), from pixels of the photo to pixels of the variant.

        `before` and `after` are their heights and widths, in pixels.
        """
        scale = self.zoom ** _both_ways(draws["zoom"]) * after / before
        angle = math.radians(self.rotation) * _both_ways(draws["rotation"])
        cos, sin = scale * math.cos(angle), scale * math.sin(angle)
        shear = self.shear * _both_ways(draws["shear"])
        mirror = -1.0 if draws["flip"] < self.mirror else 1.0
        # Mirror, then shear, then turn and zoom; written out, since small arrays cost more.
        xx, xy = mirror * cos, shear * cos - sin
        yx, yy = mirror * sin, shear * sin + cos
        # The middle of the photo comes to the middle of the variant, but for the shift.
        old, new = (before - 1) / 2, (after - 1) / 2
        x = new - old * (xx + xy) + self.shift * after * _both_ways(draws["right"])
        y = new - old * (yx + yy) + self.shift * after * _both_ways(draws["down"])
        return np.array(((xx, xy, x), (yx, yy, y)), np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Color:
    """How far colors may change; each amount is drawn evenly within its bounds."""

    brightness: float = 0  # the factor is in 1 - x to 1 + x, as for the next two
    contrast: float = 0
    saturation: float = 0
    hue: float = 0  # largest angle either way, as a share of the whole circle
    gray: float = 0  # how often all color goes, in [0, 1]
    share: float = 0  # how often colors change at all, in [0, 1]

    def matrix(self, draws: Draws, mean: Sequence[float]) -> NDArray[np.float32] | None:
        """Return float32 (3, 4): RGB to RGB, and what is added; None to leave colors alone.

        Brightness, contrast, saturation and hue in this order, each as torchvision's ColorJitter
        defines it, but for hue, which is turned in YIQ; values are clipped once, at the end. `mean`
        is that of the image's red, green and blue, in [0, 255].
        """
        if draws["color"] >= self.share:
            return None
        brightness = 1 + self.brightness * _both_ways(draws["brightness"])
        contrast = 1 + self.contrast * _both_ways(draws["contrast"])
        saturation = 1 + self.saturation * _both_ways(draws["saturation"])
        if draws["gray"] < self.gray:
            saturation = 0.0
        angle = 2 * math.pi * self.hue * _both_ways(draws["hue"])
        # Hue turns the two axes of color and saturation stretches them: luma stays.
        gain = brightness * contrast
        colored = gain * saturation
        matrix = np.empty((3, 4), np.float32)
        matrix[:, :3] = gain * _LUMA_PART + colored * (
            math.cos(angle) * _COLOR_PART + math.sin(angle) * _TURNED_PART
        )
        # Gray stays gray under hue and saturation, so what contrast adds passes through them.
        red, green, blue = mean[:3]
        luma = _RED * red + _GREEN * green + _BLUE * blue
        matrix[:, 3] = (1 - contrast) * brightness * luma
        return matrix


def _both_ways(drawn: float) -> float:
    """Stretch [0, 1) to [-1, 1)."""
    return 2 * drawn - 1


class Vary(DualTransform):  # type: ignore[misc]
    """Moves and recolors images, each in its own way, and moves their masks with them.

    It takes Albumentations' targets `images` and `masks`: what a call costs beside the arithmetic
    is then spent once a batch.

    One warp mirrors, zooms, turns, shears, shifts and resizes; outside is the mirror image. Images
    are interpolated linearly, without a filter where they shrink; masks take the nearest pixel.
    Then one multiplication changes brightness, contrast, saturation and hue.
    """

    def __init__(self, geometry: Geometry, color: Color) -> None:
        super().__init__(p=1)
        self._geometry, self._color = geometry, color

    @property
    def targets_as_params(self) -> list[str]:
        return ["draws", "size"]

    def get_params_dependent_on_data(
        self, params: Mapping[str, Any], data: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return what both passes below are called with; Albumentations' name for that step."""
        draws, size, before = data["draws"], data["size"], params["shape"][0]
        matrices = [self._geometry.matrix(drawn, before, size) for drawn in draws]
        for matrix in matrices:  # from pixels of the padded photo
            matrix[:, 2] -= matrix[:, :2].sum(axis=1) * _margin(before)
        return {"matrices": matrices, "draws": draws, "size": size}

    def apply_to_images(
        self,
        images: Bytes,
        matrices: Sequence[NDArray[np.float32]],
        draws: Sequence[Draws],
        size: int,
        **_: Any,
    ) -> Bytes:
        """Vary uint8 (N, S, S, 3) to (N, size, size, 3)."""
        varied = np.empty((len(images), size, size, 3), np.uint8)
        for image, matrix, drawn, out in zip(images, matrices, draws, varied, strict=True):
            # With a fourth channel, OpenCV's vector code warps in half the time.
            four = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
            four = _warp(four, matrix, size, cv2.INTER_LINEAR)
            colors = self._color.matrix(drawn, cv2.mean(four))
            moved = cv2.cvtColor(four, cv2.COLOR_RGBA2RGB, out)
            if colors is not None:
                cv2.transform(moved, colors, out)
        return varied

    def apply_to_masks(
        self, masks: Bytes, matrices: Sequence[NDArray[np.float32]], size: int, **_: Any
    ) -> Bytes:
        """Warp uint8 (N, S, S) to (N, size, size)."""
        moved = np.empty((len(masks), size, size), np.uint8)
        for mask, matrix, out in zip(masks, matrices, moved, strict=True):
            _warp(mask, matrix, size, cv2.INTER_NEAREST, out)
        return moved


def _margin(size: int) -> int:
    """Return how wide a margin a photo is given; most variants need no more."""
    return size * 3 // 8


def _warp(
    pixels: Bytes, matrix: NDArray[np.float32], size: int, how: int, out: Bytes | None = None
) -> Bytes:
    """Warp, into `out` or new memory.

    Outside is the mirror image; farther out than the margin, that of the photo with its margin.
    OpenCV reads what lies inside with its vector code, so a margin, mirrored in one go, costs less
    than pixels mirrored one by one.
    """
    outside, margin = cv2.BORDER_REFLECT_101, _margin(len(pixels))
    padded = cv2.copyMakeBorder(pixels, margin, margin, margin, margin, outside)
    return cast(Bytes, cv2.warpAffine(padded, matrix, (size, size), out, how, outside))


_PIPELINES = {
    "none": (Geometry(), Color()),
    "light": (
        Geometry(mirror=0.5, zoom=1.28, rotation=15, shift=0.1),
        Color(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.03, share=0.8),
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
        """Return variants of uint8 (N, S, S, 3), RGB, and their flags (N, S, S), with S = `size`.

        `keys` are N numbers, each an image's own, at least 0.
        """
        if self._own:
            seeds = [np.random.SeedSequence([self._seed, epoch, key]) for key in keys]
            numbers = [int(one.generate_state(1)[0]) for one in seeds]
            pairs = map(self._own, images, flags, numbers)
            images, flags = (np.stack(part) for part in zip(*pairs, strict=True))
            if size == images.shape[1]:
                return images, flags
        draws = []
        for key in keys:
            # As an array: NumPy takes longer over a list than over drawing.
            entropy = np.array([self._seed, epoch, key], np.uint32)
            numbers = np.random.default_rng(entropy).random(len(DRAWS)).tolist()
            draws.append(dict(zip(DRAWS, numbers, strict=True)))
        varied = self._compose(images=images, masks=flags, draws=draws, size=size)
        return varied["images"], varied["masks"]
