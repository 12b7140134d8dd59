"""Two Albumentations transforms that do in one pass each what would take six.

Warping and colouring are linear: a chain of them is one matrix. What is drawn comes with the call,
as the target `draws`, not from a state of the transform's: so the same draws make the same variant
in whichever process, and nothing has to be seeded anew for each image.
"""

import dataclasses
import math
import os
from collections.abc import Mapping
from typing import Any, cast

# Its import would otherwise ask the network for a newer version.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import cv2
import numpy as np
from albumentations import BasicTransform, Compose, DualTransform, ImageOnlyTransform
from numpy.typing import NDArray

__all__ = ["DRAWN", "BasicTransform", "Bytes", "Colour", "Compose", "Geometry", "Recolour", "Warp"]

# Images of this size gain nothing from OpenCV's threads, which would compete with the network's.
cv2.setNumThreads(0)

Bytes = NDArray[np.uint8]
Draws = Mapping[str, float]

#: What is drawn for each variant, uniform in [0, 1), by name.
DRAWN = (
    *("flip", "zoom", "rotation", "shear", "right", "down"),
    *("colour", "brightness", "contrast", "saturation", "hue", "grey"),
)

#: Weights of red, green and blue in luma: Recommendation ITU-R BT.601.
_LUMA = np.array([0.299, 0.587, 0.114])
#: From RGB to luma and two axes of colour (YIQ, as in NTSC), in which hue is an angle.
_YIQ = np.array([_LUMA, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_RGB = np.linalg.inv(_YIQ)
_IN_GREY = np.outer(np.ones(3), _LUMA)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Geometry:
    """How far a variant may be moved; each amount is drawn evenly within its bounds.

    Attributes:
        mirror: how often a variant is mirrored, in [0, 1].
        zoom: largest factor up, and down by one over it.
        rotation: largest angle either way, in degrees.
        shear: largest shift of a row by its distance from the middle row.
        shift: largest shift either way, as a share of the side.
    """

    mirror: float
    zoom: float
    rotation: float
    shear: float
    shift: float

    def matrix(self, draws: Draws, before: int, after: int) -> NDArray[np.float32]:
        """Return float32 (2, 3), from pixels of the photo to pixels of the variant.

        Args:
            draws: see `DRAWN`.
            before: side of the photo, in pixels.
            after: side of the variant, in pixels.
        """
        zoom = self.zoom ** _both_ways(draws["zoom"])
        angle = math.radians(self.rotation) * _both_ways(draws["rotation"])
        mirror = -1.0 if draws["flip"] < self.mirror else 1.0
        turn = np.array(
            [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        ) @ np.array([[1.0, self.shear * _both_ways(draws["shear"])], [0.0, 1.0]])
        linear = zoom * after / before * turn @ np.diag([mirror, 1.0])
        shift = self.shift * after * np.array([_both_ways(draws[x]) for x in ("right", "down")])
        # The middle of the photo comes to the middle of the variant, but for the shift.
        offset = (after - 1) / 2 - linear @ np.full(2, (before - 1) / 2) + shift
        return np.column_stack([linear, offset]).astype(np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Colour:
    """How far colours may change; each amount is drawn evenly within its bounds.

    Attributes:
        brightness, contrast, saturation: the factor is in 1 - x to 1 + x.
        hue: largest angle either way, as a share of the whole circle.
        grey: how often all colour goes, in [0, 1].
        share: how often colours change at all, in [0, 1].
    """

    brightness: float
    contrast: float
    saturation: float
    hue: float
    grey: float
    share: float

    def matrix(self, draws: Draws, mean: NDArray[np.float64]) -> NDArray[np.float32] | None:
        """Return float32 (3, 4): RGB to RGB, and what is added; None to leave colours alone.

        Brightness, contrast, saturation and hue in this order, each as torchvision's ColorJitter
        defines it, but for hue, which is turned in YIQ; values are clipped once, at the end.

        Args:
            draws: see `DRAWN`.
            mean: float (3,), of the image's channels in [0, 255].
        """
        if draws["colour"] >= self.share:
            return None
        brightness = 1 + self.brightness * _both_ways(draws["brightness"])
        contrast = 1 + self.contrast * _both_ways(draws["contrast"])
        saturation = 1 + self.saturation * _both_ways(draws["saturation"])
        if draws["grey"] < self.grey:
            saturation = 0.0
        angle = 2 * math.pi * self.hue * _both_ways(draws["hue"])
        cos, sin = math.cos(angle), math.sin(angle)
        turn = _RGB @ np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ _YIQ
        saturate = saturation * np.eye(3) + (1 - saturation) * _IN_GREY
        linear = brightness * contrast * turn @ saturate
        # Grey stays grey under hue and saturation, so what contrast adds passes through them.
        offset = (1 - contrast) * brightness * float(_LUMA @ mean)
        return np.column_stack([linear, np.full(3, offset)]).astype(np.float32)


def _both_ways(drawn: float) -> float:
    """Stretch [0, 1) to [-1, 1)."""
    return 2 * drawn - 1


class Warp(DualTransform):  # type: ignore[misc]
    """Mirrors, zooms, turns, shears, shifts and resizes in one warp; outside is the mirror image.

    Images are interpolated linearly; masks take the nearest pixel.
    """

    def __init__(self, geometry: Geometry) -> None:
        super().__init__(p=1)
        self._geometry = geometry

    @property
    def targets_as_params(self) -> list[str]:
        """Ask for the draws."""
        return ["draws", "side"]

    def get_params_dependent_on_data(
        self, params: Mapping[str, Any], data: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the matrix and the variant's side."""
        side = data["side"]
        return {
            "matrix": self._geometry.matrix(data["draws"], params["shape"][0], side),
            "side": side,
        }

    def apply(self, img: Bytes, matrix: NDArray[np.float32], side: int, **_: Any) -> Bytes:
        """Warp uint8 (S, S, 3) to (side, side, 3)."""
        # With a fourth channel, OpenCV's vector code does it in half the time.
        four = cv2.cvtColor(img, cv2.COLOR_RGB2RGBA)
        warped = _warp(four, matrix, side, cv2.INTER_LINEAR)
        return cast(Bytes, cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB))

    def apply_to_mask(self, mask: Bytes, matrix: NDArray[np.float32], side: int, **_: Any) -> Bytes:
        """Warp uint8 (S, S) to (side, side)."""
        return _warp(mask, matrix, side, cv2.INTER_NEAREST)


def _warp(pixels: Bytes, matrix: NDArray[np.float32], side: int, how: int) -> Bytes:
    outside = cv2.BORDER_REFLECT_101
    return cast(Bytes, cv2.warpAffine(pixels, matrix, (side, side), flags=how, borderMode=outside))


class Recolour(ImageOnlyTransform):  # type: ignore[misc]
    """Changes brightness, contrast, saturation and hue in one multiplication."""

    def __init__(self, colour: Colour) -> None:
        super().__init__(p=1)
        self._colour = colour

    @property
    def targets_as_params(self) -> list[str]:
        """Ask for the draws."""
        return ["draws", "image"]

    def get_params_dependent_on_data(
        self, params: Mapping[str, Any], data: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the matrix."""
        mean = np.array(cv2.mean(data["image"])[:3])
        return {"matrix": self._colour.matrix(data["draws"], mean)}

    def apply(self, img: Bytes, matrix: NDArray[np.float32] | None, **_: Any) -> Bytes:
        """Recolour uint8 (S, S, 3)."""
        return img if matrix is None else cast(Bytes, cv2.transform(img, matrix))
