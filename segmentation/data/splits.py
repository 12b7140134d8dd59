"""Which images train, which validate, and on which models are compared.

The `test` images are for evaluation alone. Of all others, those of the `trainval` list, a fifth is
the `gate` split, on which models are compared: training and choosing never see it. `train` and
`val` come from the rest, each breed, or class of own images, in proportion.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from segmentation.config.fields import Count
from segmentation.config.training import DataConfig
from segmentation.data.example import Example, Labels
from segmentation.errors import ConfigError, DataError
from segmentation.utils.paths import printable

#: Outside these shares of pet, in a whole split, the masks cannot be pets: they are inverted,
#: empty or all foreground, and any score on them would be meaningless.
PET_SHARES = (0.02, 0.95)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split:
    """Disjoint parts of the trainval list."""

    train: tuple[Example, ...]
    val: tuple[Example, ...]
    gate: tuple[Example, ...]


def in_gate(example: Example) -> bool:
    """Tell whether an example of `trainval` belongs to the gate split."""
    return in_fifth(example.key)


def in_fifth(key: str) -> bool:
    """Tell whether a text is of the fifth of all texts that is put apart."""
    # By a hash, not by a seed or its place in the list: models of different seeds, machines and
    # years are compared on these images, and none may have trained on one of them.
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[:8], "big") % 5 == 0


def gate_of(trainval: Iterable[Example]) -> tuple[Example, ...]:
    return tuple(example for example in trainval if in_gate(example))


def split(trainval: Sequence[Example], config: DataConfig) -> Split:
    """Choose the train and val examples that `config` asks for.

    Where examples share a key, val has all of that key or none, and about as many as asked for.

    Raises:
        ConfigError: it asks for more images than there are.
    """
    gate = gate_of(trainval)
    pool = [example for example in trainval if not in_gate(example)]
    units = {example.key: example for example in sorted(pool, key=lambda e: e.id, reverse=True)}
    if len(units) < 2 and (len(pool) > 1 or config.groups != "none"):
        raise ConfigError(
            "groups: two are needed beside the test and the gate split, to train and to validate, "
            f"and there are {len(units)}; have more groups"
        )
    val_count = val_images(trainval, config)
    number = max(1, min(round(val_count * len(units) / len(pool)), len(units) - 1))
    chosen = choose_subset([*units.values()], number, config.split_seed)
    places = {example.key: place for place, example in enumerate(chosen)}
    val = [example for example in pool if example.key in places]
    val.sort(key=lambda example: (places[example.key], example.id))
    rest = [example for example in pool if example.key not in places]
    train_count = _count("train_images", config, rest, len(rest), len(rest))
    train = choose_subset(rest, train_count, config.split_seed)
    return Split(train=tuple(train), val=tuple(val), gate=gate)


def val_images(trainval: Sequence[Example], config: DataConfig) -> int:
    """Return how many images `config` asks for to validate on; whole groups may be others."""
    pool = [example for example in trainval if not in_gate(example)]
    return _count("val_images", config, pool, len(pool) - 1, max(1, len(pool) // 5))


def choose_subset(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    """Draw `count` examples, every kind in proportion to its number, in a mixed order.

    Shares are rounded by the method of the largest remainder, ties by lot. The order in which
    `examples` are given does not matter.
    """
    generator = np.random.default_rng([seed, count])
    kinds: dict[str, list[Example]] = {}
    for example in sorted(examples, key=lambda e: e.id):
        kinds.setdefault(example.kind, []).append(example)
    exact = {kind: count * len(group) / len(examples) for kind, group in kinds.items()}
    quota = {kind: int(share) for kind, share in exact.items()}
    lots = dict(zip(kinds, generator.permutation(len(kinds)), strict=True))
    by_remainder = sorted(kinds, key=lambda kind: (quota[kind] - exact[kind], lots[kind]))
    for kind in by_remainder[: count - sum(quota.values())]:
        quota[kind] += 1
    drawn = [
        group[position]
        for kind, group in kinds.items()
        for position in generator.permutation(len(group))[: quota[kind]]
    ]
    return [drawn[position] for position in generator.permutation(len(drawn))]


def check_pet_share(name: str, share: float, labels: Labels) -> None:
    """Refuse a split whose masks cannot be right, by the share of pet pixels among all that count.

    Raises:
        DataError: `share` lies outside `PET_SHARES`.
    """
    low, high = PET_SHARES
    if not low <= share <= high:
        check = "the trimaps have 1 = pet, 2 = background, 3 = border, and what `border` makes of "
        check += "the last"
        if not labels.trimap:
            check = "the masks are not inverted, and what `foreground` says of their values"
        raise DataError(
            f"{share:.1%} of the pixels of the {name} split are {labels.noun}; expected {low:.0%} "
            f"to {high:.0%}. A score on such masks would mean nothing: check that {check}."
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


def _count(
    name: str, config: DataConfig, pool: Sequence[Example], available: int, everything: int
) -> int:
    """Turn `all` into a number, and refuse more than there are.

    Of own images, which may be few, the default is the most that is taken, also where it was typed:
    of a training that is repeated or goes on, it is not known what was.
    """
    count: Count = getattr(config, name)
    number = everything if count == "all" else count
    own = bool(pool) and not pool[0].labels.trimap
    if own and count == getattr(DataConfig(), name):
        number = min(number, everything)
    if not 0 < number <= available:
        raise ConfigError(
            f"{name}={count}: there are {max(available, 0)} to choose from (the trainval list "
            "without its gate fifth and, for training, without the validation images); ask for "
            "fewer or use more data"
        )
    return number
