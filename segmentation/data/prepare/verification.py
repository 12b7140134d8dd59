"""Checks every listed example of a data set, and reports all that is wrong at once."""

import contextlib
import dataclasses
import hashlib
from collections import Counter

import numpy as np

from segmentation.data.example import Example, Labels
from segmentation.data.images.examples import (
    BORDER,
    PET,
    ExampleError,
    decode,
    note_on_turned,
    occurring,
    read_files,
)
from segmentation.data.images.reader import RefusedError, exif_orientation, read_mask
from segmentation.data.oxford_pets import LISTS, listed_twice, read_lists
from segmentation.data.sources import Source
from segmentation.data.splits import find_duplicates, in_gate
from segmentation.utils.concurrency import Progress, in_parallel
from segmentation.utils.paths import printable


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What a data set holds."""

    labels: Labels
    counts: dict[str, int]  # examples by list
    kinds: Counter[str]  # examples by breed, class or group
    # Smallest, median and largest (width, height), by area; pixels.
    sizes: tuple[tuple[int, int], tuple[int, int], tuple[int, int]] | None
    pet: float  # mean share over the usable images, in [0, 1]
    border: float  # the same; of own masks, of what is ignored
    empty: int  # usable images without foreground
    values: Counter[int]  # in how many own masks each value occurs
    problems: tuple[str, ...]  # one line for each example that cannot be used
    turned: tuple[str, ...]  # the names of images that EXIF says are to be turned
    examples: tuple[Example, ...]  # those that can be used

    def lines(self) -> list[str]:
        """Return the report for people, a fact a line."""
        labels, file = self.labels, ".txt" if self.labels.trimap else ""
        listed = ", ".join(f"{number} in {name}{file}" for name, number in self.counts.items())
        lines = [f"examples:  {listed}"]
        if any(self.kinds):
            kinds = ", ".join(f"{kind} {number}" for kind, number in sorted(self.kinds.items()))
            lines.append(f"{f'{labels.kinds}:':11}{len(self.kinds)} ({kinds})")
        if self.sizes:
            small, middle, large = (f"{width} x {height}" for width, height in self.sizes)
            lines.append(f"sizes:     {small} to {large} pixels, median {middle}")
            shares = f"{labels.noun} {self.pet:.1%}"
            shares += f", {'border' if labels.trimap else 'ignored'} {self.border:.1%}"
            lines.append(f"pixels:    {shares}, mean by image")
        if self.values:
            counts = [f"{one} in {number}" for one, number in sorted(self.values.items())]
            more = f" and {len(counts) - 8} more" if len(counts) > 8 else ""
            lines.append(f"values:    {', '.join(counts[:8])}{more}, of the masks")
        if self.empty:
            lines.append(f"empty:     {self.empty} without {labels.noun}")
        lines += note_on_turned(self.turned, labels)
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
    values: tuple[int, ...] = ()
    pet: float = 0.0
    border: float = 0.0
    digest: str = ""
    turned: bool = False


def verify(source: Source, progress: Progress) -> Report:
    """Read both lists and every file that they name.

    Raises:
        DataError: a list is missing, empty or malformed, or own images and masks do not go
            together.
    """
    if source.labels.trimap:
        lists = read_lists(source.root, LISTS)  # what is wrong with both is said at once
    else:
        lists = {"trainval": source.trainval(), "test": source.test()}
    listed = [(name, example) for name, examples in lists.items() for example in examples]
    checked = in_parallel(lambda pair: _check(pair[1]), listed, progress)
    good = [one for one in checked if not one.problem]
    problems = [one.problem for one in checked if one.problem]
    both = listed_twice(lists["trainval"], lists["test"])
    problems += [
        printable(f"{source.root / 'annotations'}: {name} is in both lists")
        for name in sorted(set(both.values()))
    ]
    problems += find_duplicates(
        (_split(name, example), example, one.digest)
        for (name, example), one in zip(listed, checked, strict=True)
        if not one.problem and example.id not in both
    ).values()
    sizes = sorted((one.size for one in good), key=lambda size: size[0] * size[1])
    return Report(
        labels=listed[0][1].labels,
        counts={name: len(examples) for name, examples in lists.items()},
        kinds=Counter(example.kind for _, example in listed),
        sizes=(sizes[0], sizes[len(sizes) // 2], sizes[-1]) if sizes else None,
        pet=float(np.mean([one.pet for one in good])) if good else 0.0,
        border=float(np.mean([one.border for one in good])) if good else 0.0,
        empty=sum(not one.pet for one in good),
        values=Counter(value for one in checked for value in one.values),
        problems=tuple(problems),
        turned=tuple(
            printable(example.image.name)
            for (_, example), one in zip(listed, checked, strict=True)
            if one.turned
        ),
        examples=tuple(
            example for (_, example), one in zip(listed, checked, strict=True) if not one.problem
        ),
    )


def _check(example: Example) -> _CheckedExample:
    values: tuple[int, ...] = ()
    try:
        image, mask = read_files(example)
        if not example.labels.trimap:
            with contextlib.suppress(RefusedError):  # said when both are decoded
                values = tuple(occurring(read_mask(mask, blurred=True)))
        pixels = decode(example, image, mask)
    except ExampleError as error:
        return _CheckedExample(problem=str(error), values=values)
    return _CheckedExample(
        values=values,
        size=(pixels.image.shape[1], pixels.image.shape[0]),
        pet=float((pixels.trimap == PET).mean()),
        border=float((pixels.trimap >= BORDER).mean()),
        digest=hashlib.sha256(image).hexdigest(),
        turned=exif_orientation(image) != 1,
    )


def _split(name: str, example: Example) -> str:
    """Name the split in which a listed example is whatever the seed."""
    if name == "trainval":
        return "gate" if in_gate(example) else "train or val"
    return name
