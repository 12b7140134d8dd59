"""Checks every listed example of a data set, and reports all that is wrong at once."""

import dataclasses
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np

from segmentation.data.images.examples import (
    BORDER,
    PET,
    ExampleError,
    decode,
    note_on_turned,
    read_files,
)
from segmentation.data.images.reader import exif_orientation
from segmentation.data.oxford_pets import LISTS, Example, listed_twice, read_lists
from segmentation.data.splits import find_duplicates, in_gate
from segmentation.utils.concurrency import Progress, in_parallel
from segmentation.utils.paths import printable


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What a data set holds.

    Attributes:
        root: its folder.
        counts: number of listed examples by list.
        breeds: number of listed examples by breed.
        sizes: smallest, median and largest (width, height), by area; pixels.
        pet, border: mean share over the usable images, in [0, 1].
        problems: one line for each example that cannot be used.
        turned: the names of images that EXIF says are to be turned.
    """

    root: Path
    counts: dict[str, int]
    breeds: Counter[str]
    sizes: tuple[tuple[int, int], tuple[int, int], tuple[int, int]] | None
    pet: float
    border: float
    problems: tuple[str, ...]
    turned: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return the report for people, a fact a line."""
        listed = ", ".join(f"{number} in {name}.txt" for name, number in self.counts.items())
        breeds = ", ".join(f"{breed} {number}" for breed, number in sorted(self.breeds.items()))
        lines = [
            f"examples:  {listed}",
            f"breeds:    {len(self.breeds)} ({breeds})",
        ]
        if self.sizes:
            small, middle, large = (f"{width} x {height}" for width, height in self.sizes)
            lines.append(f"sizes:     {small} to {large} pixels, median {middle}")
            lines.append(f"pixels:    pet {self.pet:.1%}, border {self.border:.1%}, mean by image")
        lines += note_on_turned(self.turned)
        lines.append(f"problems:  {len(self.problems) or 'none'}")
        return lines + [f"  {problem}" for problem in self.problems]

    def metrics(self) -> dict[str, float]:
        """Return the figures under the names by which they are tracked."""
        return {
            **{f"data/{name}": float(number) for name, number in self.counts.items()},
            "data/pet_share": self.pet,
            "data/border_share": self.border,
            "data/problems": float(len(self.problems)),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class _CheckedExample:
    """What is known of an example that could be read, or the reason why not."""

    problem: str = ""
    size: tuple[int, int] = (0, 0)
    pet: float = 0.0
    border: float = 0.0
    digest: str = ""
    turned: bool = False


def verify(root: Path, progress: Progress) -> Report:
    """Read both lists and every file that they name.

    Raises:
        DataError: a list is missing, empty or malformed.
    """
    lists = read_lists(root, LISTS)
    listed = [(name, example) for name, examples in lists.items() for example in examples]
    checked = in_parallel(lambda pair: _check(pair[1]), listed, progress)
    good = [one for one in checked if not one.problem]
    problems = [one.problem for one in checked if one.problem]
    both = listed_twice(lists["trainval"], lists["test"])
    problems += [
        printable(f"{root / 'annotations'}: {name} is in both lists")
        for name in sorted(set(both.values()))
    ]
    problems += find_duplicates(
        (_split(name, example), example, one.digest)
        for (name, example), one in zip(listed, checked, strict=True)
        if not one.problem and example.id not in both
    ).values()
    sizes = sorted((one.size for one in good), key=lambda size: size[0] * size[1])
    return Report(
        root=root,
        counts={name: len(examples) for name, examples in lists.items()},
        breeds=Counter(example.breed for _, example in listed),
        sizes=(sizes[0], sizes[len(sizes) // 2], sizes[-1]) if sizes else None,
        pet=float(np.mean([one.pet for one in good])) if good else 0.0,
        border=float(np.mean([one.border for one in good])) if good else 0.0,
        problems=tuple(problems),
        turned=tuple(
            printable(example.image.name)
            for (_, example), one in zip(listed, checked, strict=True)
            if one.turned
        ),
    )


def _check(example: Example) -> _CheckedExample:
    try:
        image, trimap = read_files(example)
        pixels = decode(example, image, trimap)
    except ExampleError as error:
        return _CheckedExample(problem=str(error))
    return _CheckedExample(
        size=(pixels.image.shape[1], pixels.image.shape[0]),
        pet=float((pixels.trimap == PET).mean()),
        border=float((pixels.trimap == BORDER).mean()),
        digest=hashlib.sha256(image).hexdigest(),
        turned=exif_orientation(image) != 1,
    )


def _split(name: str, example: Example) -> str:
    """Name the split in which a listed example is whatever the seed."""
    if name == "trainval":
        return "gate" if in_gate(example) else "train or val"
    return name
