"""Disjoint, stratified, repeatable; the gate never moves."""

from collections import Counter
from pathlib import Path

import pytest

from segmentation.config.training import DataConfig
from segmentation.data.example import Example
from segmentation.data.splits import choose_subset, in_gate, split
from segmentation.errors import ConfigError


def examples(**breeds: int) -> list[Example]:
    return [
        Example(id=f"{breed}_{n}", key=f"{breed}_{n}", kind=breed, image=Path(), mask=Path())
        for breed, number in breeds.items()
        for n in range(1, number + 1)
    ]


FULL = examples(**{f"breed{n}": 100 for n in range(37)})


def ids(part: tuple[Example, ...]) -> set[str]:
    return {example.id for example in part}


def test_splits_share_no_image_and_the_gate_is_the_same_for_every_seed() -> None:
    gates = []
    for seed in range(5):
        parts = split(FULL, DataConfig(split_seed=seed))
        assert (len(parts.train), len(parts.val)) == (100, 20)
        assert not ids(parts.train) & ids(parts.val)
        assert not (ids(parts.train) | ids(parts.val)) & ids(parts.gate)
        gates.append(ids(parts.gate))
        assert split(FULL, DataConfig(split_seed=seed)) == parts
        assert ids(split(FULL, DataConfig(split_seed=seed + 1)).train) != ids(parts.train)
    assert all(gate == gates[0] for gate in gates)
    assert 0.17 < len(gates[0]) / len(FULL) < 0.23


def test_the_gate_is_for_ever_the_same() -> None:
    """Models of different times are compared on it, so these names must never change."""
    gate = [example.id for example in examples(Abyssinian=40) if in_gate(example)]
    assert gate == [f"Abyssinian_{number}" for number in (3, 4, 5, 34, 40)]


def test_breeds_come_in_proportion() -> None:
    chosen = Counter(e.kind for e in choose_subset(examples(a=60, b=30, c=10), 20, seed=0))
    assert chosen == {"a": 12, "b": 6, "c": 2}
    thin = Counter(e.kind for e in choose_subset(FULL, 20, seed=0))
    assert set(thin.values()) == {1}  # 20 of 37 breeds, none twice
    assert len(Counter(e.kind for e in split(FULL, DataConfig()).train)) == 37


def test_the_order_does_not_matter_and_is_mixed() -> None:
    drawn = choose_subset(FULL, 50, seed=0)
    assert drawn == choose_subset(FULL[::-1], 50, seed=0)
    assert [e.kind for e in drawn] != sorted(e.kind for e in drawn)


def test_all_means_all_but_the_gate() -> None:
    parts = split(FULL, DataConfig(train_images="all", val_images="all"))
    assert len(parts.train) + len(parts.val) + len(parts.gate) == len(FULL)
    assert len(parts.val) == (len(FULL) - len(parts.gate)) // 5


def test_asking_for_more_than_there_is_says_how_many_there_are() -> None:
    small = examples(a=50)
    pool = sum(not in_gate(example) for example in small)
    with pytest.raises(ConfigError, match=f"train_images=100: there are {pool - 10} to choose"):
        split(small, DataConfig(val_images=10))
    with pytest.raises(ConfigError, match="val_images=all: there are 0 to choose"):
        split([e for e in small if not in_gate(e)][:1], DataConfig(val_images="all"))
    with pytest.raises(ConfigError, match=f"val_images={pool}: there are {pool - 1} to choose"):
        split(small, DataConfig(val_images=pool))
