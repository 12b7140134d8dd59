"""Folders of own images and masks: small noise with a disc each, of which no two are alike."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Bytes = NDArray[np.uint8]
Mask = Bytes | Image.Image

#: A disc that is not in the middle, (32, 32), as a trimap and as 0 and 255.
DISTANCE = np.hypot(*(np.mgrid[:32, :32] - np.array([16, 12])[:, None, None]))
TRIMAP = np.select([DISTANCE < 8, DISTANCE < 10], [1, 3], 2).astype(np.uint8)
DISC = TRIMAP == 1
GRAY = DISC.astype(np.uint8) * 255


def save(path: Path, image: Mask, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)


def photo(number: int) -> Bytes:
    noise = np.random.default_rng(number).normal(90, 25, (32, 32, 3))
    pixels: Bytes = (noise + 80 * DISC[..., None]).clip(0, 255).astype(np.uint8)
    return pixels


def make(folder: Path, number: int = 8, mask: Mask = GRAY, ending: str = "png") -> Path:
    """Write `images/photo N.png`, and of each the same mask with an ending."""
    for n in range(number):
        save(folder / "images" / f"photo {n}.png", photo(n))
        save(folder / "masks" / f"photo {n}.{ending}", mask)
    return folder


def groups(folder: Path, *rows: str, head: str = "path,group,class") -> str:
    """Write a CSV of groups; return its path."""
    path = folder / "groups.csv"
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8-sig")
    return str(path)
