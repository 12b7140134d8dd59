"""The built-in sample: drawn pets in the layout of Oxford-IIIT Pet, so that all runs offline."""

from pathlib import Path

import numpy as np
from filelock import FileLock
from PIL import Image

from segmentation.drawing import BREEDS, Breed, draw
from segmentation.paths import cache_folder
from segmentation.staging import remove_leftovers, staged

#: Raised when the drawing changes, so that an older sample is not taken for this one.
_VERSION = 1
TRAINVAL, TEST = 240, 60


def synthetic_folder() -> Path:
    """Return where the sample is, drawing it there the first time (some seconds)."""
    folder = cache_folder() / f"synthetic-{_VERSION}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not folder.exists():
                remove_leftovers(folder)
                with staged(folder) as stage:
                    write_dataset(stage, TRAINVAL, TEST, seed=0)
    return folder


def write_dataset(folder: Path, trainval: int, test: int, seed: int) -> None:
    """Draw a data set.

    Args:
        folder: an empty or new folder.
        trainval: how many pets that list gets, the breeds in turn.
        test: how many pets the other list gets.
        seed: the same one draws the same files.
    """
    (folder / "images").mkdir(parents=True)
    (folder / "annotations" / "trimaps").mkdir(parents=True)
    lists: dict[str, list[str]] = {"trainval": [], "test": []}
    for number in range(trainval + test):
        breed = BREEDS[number % len(BREEDS)]
        name = f"{breed.name}_{number // len(BREEDS) + 1}"
        # Each picture has a generator of its own: it is the same in a smaller and a larger set.
        image, trimap = draw(breed, np.random.default_rng([seed, number]))
        Image.fromarray(image).save(folder / "images" / f"{name}.jpg", quality=92)
        Image.fromarray(trimap).save(folder / "annotations" / "trimaps" / f"{name}.png")
        lists["trainval" if number < trainval else "test"].append(f"{name} {_columns(breed)}")
    lists["list"] = lists["trainval"] + lists["test"]
    for name, lines in lists.items():
        path = folder / "annotations" / f"{name}.txt"
        path.write_text("\n".join(sorted(lines)) + "\n", encoding="utf-8")


def _columns(breed: Breed) -> str:
    """Return class, species and number within the species, each from 1."""
    same = [other for other in BREEDS if other.species == breed.species]
    species = 1 if breed.species == "cat" else 2
    return f"{BREEDS.index(breed) + 1} {species} {same.index(breed) + 1}"
