"""Thousands of drawn pets, drawn once and kept in the cache."""

import functools
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from filelock import FileLock
from PIL import Image

from segmentation.drawing import BREEDS, draw
from segmentation.parallel import Progress
from segmentation.paths import cache_folder
from segmentation.pets import Example
from segmentation.splits import in_gate
from segmentation.staging import remove_leftovers, staged

_VERSION = 1  # raised when what is drawn changes
_SEED = 1
_VAL = 20


def many_pets(count: int, progress: Progress) -> Path:
    """Return a folder with so many pets to train on and 20 to validate, drawing it the first time.

    Args:
        count: of those to train on.
        progress: told how many are drawn.
    """
    folder = cache_folder() / f"benchmark-{_VERSION}-{count}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            remove_leftovers(folder)
            with staged(folder) as stage:
                _draw_all(stage, count + _VAL, progress)
    return folder


def _draw_all(folder: Path, count: int, progress: Progress) -> None:
    (folder / "images").mkdir()
    (folder / "annotations" / "trimaps").mkdir(parents=True)
    numbers = [number for number, _ in zip(_drawn_numbers(), range(count), strict=False)]
    # Spawned: threads run by now, and a forked process would inherit whatever locks they hold.
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        work = functools.partial(_draw_one, folder)
        for done, _ in enumerate(pool.map(work, numbers, chunksize=16), 1):
            progress(done, count)
    lines = [f"{_name(number)} 1 {1 if _name(number)[0].isupper() else 2} 1" for number in numbers]
    (folder / "annotations" / "trainval.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _drawn_numbers() -> Iterator[int]:
    """Yield those whose names are not in the gate split, on which nobody trains."""
    number = 0
    while True:
        name = _name(number)
        example = Example(id=name, breed="", species="cat", image=Path(), trimap=Path())
        if not in_gate(example):
            yield number
        number += 1


def _name(number: int) -> str:
    return f"{BREEDS[number % len(BREEDS)].name}_{number // len(BREEDS) + 1}"


def _draw_one(folder: Path, number: int) -> None:
    breed, name = BREEDS[number % len(BREEDS)], _name(number)
    image, trimap = draw(breed, np.random.default_rng([_SEED, number]))
    Image.fromarray(image).save(folder / "images" / f"{name}.jpg", quality=92)
    Image.fromarray(trimap).save(folder / "annotations" / "trimaps" / f"{name}.png")
