"""Checks every listed example of a data set, and reports all that is wrong at once."""

import contextlib
import dataclasses
import hashlib
import math
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
from segmentation.data.sources import Source
from segmentation.data.splits import find_duplicates, in_gate
from segmentation.utils.concurrency import Progress, in_parallel
from segmentation.utils.paths import printable


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Check:
    """What is known of an example that could be read, or the reason why not."""

    problem: str = ""
    size: tuple[int, int] = (0, 0)  # width and height, in pixels
    values: tuple[int, ...] = ()  # of an own mask
    pet: float = 0.0  # share of the pixels, in [0, 1]
    border: float = 0.0  # the same; of own masks, what is ignored
    digest: str = ""
    turned: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What a data set holds."""

    labels: Labels
    counts: dict[str, int]  # examples by list
    kinds: Counter[str]  # examples by breed, class or group
    values: Counter[int]  # in how many own masks each value occurs
    problems: tuple[str, ...]  # one line for each example that cannot be used
    good: dict[Example, _Check]  # those that can be used

    @property
    def pet(self) -> float:
        """The mean share of pet over the usable images, in [0, 1]."""
        return float(np.mean([one.pet for one in self.good.values()] or 0))

    @property
    def border(self) -> float:
        """The mean share of the border, or of what own masks ignore."""
        return float(np.mean([one.border for one in self.good.values()] or 0))

    def lines(self) -> list[str]:
        """Return the report for people, a fact a line."""
        labels, file = self.labels, ".txt" if self.labels.trimap else ""
        listed = ", ".join(f"{number} in {name}{file}" for name, number in self.counts.items())
        lines = [f"examples:  {listed}"]
        if any(self.kinds):
            kinds = ", ".join(f"{kind} {number}" for kind, number in sorted(self.kinds.items()))
            lines.append(f"{f'{labels.kinds}:':11}{len(self.kinds)} ({kinds})")
        if sizes := sorted((one.size for one in self.good.values()), key=math.prod):
            some = (sizes[0], sizes[-1], sizes[len(sizes) // 2])
            small, large, middle = (f"{width} x {height}" for width, height in some)
            lines.append(f"sizes:     {small} to {large} pixels, median {middle}")
            shares = f"{labels.noun} {self.pet:.1%}"
            shares += f", {'border' if labels.trimap else 'ignored'} {self.border:.1%}"
            lines.append(f"pixels:    {shares}, mean by image")
            if not labels.trimap and self.pet > 0.5:
                lines.append(f"note:      most is {labels.noun}; are masks inverted? foreground=0")
        if self.values:
            counts = [f"{one} in {number}" for one, number in sorted(self.values.items())]
            more = f" and {len(counts) - 8} more" if len(counts) > 8 else ""
            lines.append(f"values:    {', '.join(counts[:8])}{more}, of the masks")
        if empty := sum(not one.pet for one in self.good.values()):
            lines.append(f"empty:     {empty} without {labels.noun}")
        turned = [printable(one.image.name) for one, check in self.good.items() if check.turned]
        lines += note_on_turned(turned, labels)
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


def verify(source: Source, progress: Progress) -> Report:
    """Read every file of a data set.

    Raises:
        DataError: lists cannot be used, or own images and masks do not go together.
    """
    lists = {"trainval": source.trainval(), "test": source.test()}
    listed = [(name, example) for name, examples in lists.items() for example in examples]
    checks = in_parallel(lambda pair: _check(pair[1]), listed, progress)
    checked = list(zip(listed, checks, strict=True))
    duplicates = find_duplicates(
        # The split in which an example is whatever the seed.
        (
            "test" if name == "test" else "gate" if in_gate(one) else "train or val",
            one,
            check.digest,
        )
        for (name, one), check in checked
        if not check.problem
    )
    return Report(
        labels=listed[0][1].labels,
        counts={name: len(examples) for name, examples in lists.items()},
        kinds=Counter(example.kind for _, example in listed),
        values=Counter(value for check in checks for value in check.values),
        problems=(*(one.problem for one in checks if one.problem), *duplicates.values()),
        good={example: check for (_, example), check in checked if not check.problem},
    )


def _check(example: Example) -> _Check:
    values: tuple[int, ...] = ()
    try:
        image, mask = read_files(example)
        if not example.labels.trimap:
            with contextlib.suppress(RefusedError):  # said when both are decoded
                values = tuple(occurring(read_mask(mask, blurred=True)))
        pixels = decode(example, image, mask)
    except ExampleError as error:
        return _Check(problem=str(error), values=values)
    return _Check(
        values=values,
        size=(pixels.image.shape[1], pixels.image.shape[0]),
        pet=float((pixels.trimap == PET).mean()),
        border=float((pixels.trimap >= BORDER).mean()),
        digest=hashlib.sha256(image).hexdigest(),
        turned=exif_orientation(image) != 1,
    )
