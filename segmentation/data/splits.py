"""Which images train, which validate, and on which models are compared.

The official `test` list is for evaluation alone. Of the official `trainval` list a fifth is the
`gate` split, on which models are compared: training and choosing never see it. `train` and `val`
come from the rest, each breed in proportion.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from segmentation.config.fields import Count
from segmentation.config.training import DataConfig
from segmentation.data.oxford_pets import Example
from segmentation.errors import ConfigError, DataError
from segmentation.utils.paths import printable

#: Outside these shares of pet, in a whole split, the masks cannot be pets: they are inverted,
#: empty or all foreground, and any score on them would be meaningless.
PET_SHARES = (0.02, 0.95)

_GATE_PART = 5  # one in so many


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split:
    """Disjoint parts of the official trainval list."""

    train: tuple[Example, ...]
    val: tuple[Example, ...]
    gate: tuple[Example, ...]


def in_gate(example: Example) -> bool:
    """Tell whether an example of `trainval` belongs to the gate split."""
    # By a hash of the name, not by a seed or its place in the list: models of different seeds,
    # machines and years are compared on these images, and none may have trained on one of them.
    digest = hashlib.sha256(example.id.encode()).digest()
    return int.from_bytes(digest[:8], "big") % _GATE_PART == 0


def gate_of(trainval: Iterable[Example]) -> tuple[Example, ...]:
    """Return the gate split of the official trainval list."""
    return tuple(example for example in trainval if in_gate(example))


def split(trainval: Sequence[Example], config: DataConfig) -> Split:
    """Choose the train and val examples that `config` asks for.

    Raises:
        ConfigError: it asks for more images than there are.
    """
    gate = gate_of(trainval)
    pool = [example for example in trainval if not in_gate(example)]
    val_count = _count("val_images", config.val_images, len(pool) - 1, max(1, len(pool) // 5))
    val = choose_subset(pool, val_count, config.split_seed)
    taken = {example.id for example in val}
    rest = [example for example in pool if example.id not in taken]
    train_count = _count("train_images", config.train_images, len(rest), len(rest))
    train = choose_subset(rest, train_count, config.split_seed)
    return Split(train=tuple(train), val=tuple(val), gate=gate)


def choose_subset(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    """Draw `count` examples, every breed in proportion to its number, in a mixed order.

    Shares are rounded by the method of the largest remainder, ties by lot. The order in which
    `examples` are given does not matter.
    """
    generator = np.random.default_rng([seed, count])
    breeds: dict[str, list[Example]] = {}
    for example in sorted(examples, key=lambda e: e.id):
        breeds.setdefault(example.breed, []).append(example)
    exact = {breed: count * len(group) / len(examples) for breed, group in breeds.items()}
    quota = {breed: int(share) for breed, share in exact.items()}
    lots = dict(zip(breeds, generator.permutation(len(breeds)), strict=True))
    by_remainder = sorted(breeds, key=lambda b: (quota[b] - exact[b], lots[b]))
    for breed in by_remainder[: count - sum(quota.values())]:
        quota[breed] += 1
    drawn = [
        group[position]
        for breed, group in breeds.items()
        for position in generator.permutation(len(group))[: quota[breed]]
    ]
    return [drawn[position] for position in generator.permutation(len(drawn))]


def check_pet_share(name: str, share: float) -> None:
    """Refuse a split whose masks cannot be pets, by the share of pet pixels among all that count.

    Raises:
        DataError: `share` lies outside `PET_SHARES`.
    """
    low, high = PET_SHARES
    if not low <= share <= high:
        raise DataError(
            f"{share:.1%} of the pixels of the {name} split are pet; expected {low:.0%} to "
            f"{high:.0%}. A score on such masks would mean nothing: check that the trimaps have "
            "1 = pet, 2 = background, 3 = border, and what `border` makes of the last."
        )


def find_duplicates(files: Iterable[tuple[str, Example, str]]) -> dict[str, str]:
    """Find pictures that stand in two splits, by (split, example, digest of the image file).

    Returns:
        For the id of each example whose picture an earlier split has: one line that says so.
    """
    seen: dict[str, tuple[str, Example]] = {}
    problems = {}
    for name, example, digest in files:
        first_name, first = seen.setdefault(digest, (name, example))
        if first_name != name:
            problems[example.id] = printable(
                f"{example.image}: the same picture as {first.image}, which is in the "
                f"{first_name} split while this is in {name}"
            )
    return problems


def _count(name: str, count: Count, available: int, everything: int) -> int:
    """Turn `all` into a number, and refuse more than there are."""
    number = everything if count == "all" else count
    if not 0 < number <= available:
        raise ConfigError(
            f"{name}={count}: there are {max(available, 0)} to choose from (the trainval list "
            "without its gate fifth and, for training, without the validation images); ask for "
            "fewer or use more data"
        )
    return number
