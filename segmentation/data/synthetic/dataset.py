"""The built-in sample: drawn pets in the layout of Oxford-IIIT Pet, so that all runs offline."""

from pathlib import Path

import numpy as np
from PIL import Image

from segmentation.data.synthetic.drawing import BREEDS, draw
from segmentation.utils.files import create_once
from segmentation.utils.paths import cache_folder

#: Raised when the drawing changes, so that an older sample is not taken for this one.
_VERSION = 1
TRAINVAL, TEST = 240, 60


def synthetic_folder() -> Path:
    """Return where the sample is, drawing it there the first time (some seconds)."""
    folder = cache_folder() / f"synthetic-{_VERSION}"
    return create_once(folder, lambda stage: write_dataset(stage, TRAINVAL, TEST, seed=0))


def write_dataset(folder: Path, trainval: int, test: int, seed: int) -> None:
    """Draw so many pets for each list, the breeds in turn; the same seed draws the same files."""
    images, annotations = folder / "images", folder / "annotations"
    images.mkdir(parents=True)
    (annotations / "trimaps").mkdir(parents=True)
    lists: dict[str, list[str]] = {"trainval": [], "test": []}
    for number in range(trainval + test):
        breed = BREEDS[number % len(BREEDS)]
        name = f"{breed.name}_{number // len(BREEDS) + 1}"
        # Each picture has a generator of its own: it is the same in a smaller and a larger set.
        image, trimap = draw(breed, np.random.default_rng([seed, number]))
        Image.fromarray(image).save(images / f"{name}.jpg", quality=92)
        Image.fromarray(trimap).save(annotations / "trimaps" / f"{name}.png")
        row = f"{name} {number % len(BREEDS) + 1} {1 if breed.species == 'cat' else 2} 1"
        lists["trainval" if number < trainval else "test"].append(row)
    for name, lines in lists.items():
        text = "\n".join(sorted(lines)) + "\n"
        (annotations / f"{name}.txt").write_text(text, encoding="utf-8")
