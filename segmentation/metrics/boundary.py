"""How well the outline of a mask is met.

The boundary F-score of G. Csurka, D. Larlus, F. Perronnin, "What is a good evaluation measure for
semantic segmentation?", BMVC 2013: precision is the share of the predicted outline that lies within
a tolerance of the true one, recall the share of the true outline that lies within it of the
predicted one, F = 2 P R / (P + R). Where neither has an outline, F is 1 if they are equal and 0 if
one is full and the other empty; where one of them alone has, F is 0. The outline of a mask is its
pixels that have a pixel of the other kind above, below, left or right; the photo's edge is none.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

#: Share of the photo's diagonal within which outlines meet, as in the paper.
TOLERANCE = 0.0075


def boundary_f(mask: Mask, prediction: Mask, tolerance: float = TOLERANCE) -> float:
    """Return the boundary F-score of one image, (H, W), in [0, 1].

    The tolerance is a share of the diagonal; in pixels it is rounded up.
    """
    true, said = outline(mask), outline(prediction)
    if not true.any() and not said.any():
        return float(np.array_equal(mask, prediction))  # each is full or empty
    if not true.any() or not said.any():
        return 0.0
    reach = math.ceil(tolerance * math.hypot(*mask.shape))
    precision = float((_distance(true)[said] <= reach).mean())
    recall = float((_distance(said)[true] <= reach).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def outline(mask: Mask) -> Mask:
    """Return the pixels of a mask, (H, W), that touch its outside."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    inside = cv2.erode(mask.astype(np.uint8), cross)  # beyond the photo's edge counts as mask
    return np.asarray(mask & (inside == 0))


def _distance(pixels: Mask) -> NDArray[np.float32]:
    """Return each pixel's Euclidean distance to the nearest of `pixels`, in pixels."""
    elsewhere = (~pixels).astype(np.uint8)
    return np.asarray(cv2.distanceTransform(elsewhere, cv2.DIST_L2, cv2.DIST_MASK_PRECISE))
