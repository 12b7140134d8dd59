"""How a batch is divided among processes."""

import itertools

import pytest

from segmentation.errors import ConfigError
from segmentation.runtime.sharding import FULL, Shard, shard_from_env


@pytest.mark.parametrize("size", range(1, 10))
def test_shards_are_the_batch_and_as_even_as_can_be(size: int) -> None:
    for batch in (list(range(images)) for images in range(30)):
        shards = [Shard(rank=rank, size=size).of(batch) for rank in range(size)]
        assert list(itertools.chain.from_iterable(shards)) == batch
        lengths = [len(shard) for shard in shards]
        assert max(lengths) - min(lengths) <= 1


GROUP = {
    "MASTER_ADDR": "a",
    "MASTER_PORT": "29500",
    "WORLD_SIZE": "3",
    "RANK": "2",
    "LOCAL_RANK": "0",
}


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in GROUP:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    "variables",
    [
        {"WORLD_SIZE": "2", "RANK": "0"},
        {"WORLD_SIZE": ""},
        {"RANK": "x", "LOCAL_RANK": "-", "WORLD_SIZE": "y"},
        {"MASTER_ADDR": "", "WORLD_SIZE": "2", "RANK": "1"},
        {**GROUP, "WORLD_SIZE": "1", "RANK": "0"},
    ],
)
def test_variables_that_tell_no_place_to_meet_mean_nothing(
    clean: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        clean.setenv(name, value)
    assert shard_from_env() == FULL


@pytest.mark.parametrize(
    "wrong", ["WORLD_SIZE=two", "WORLD_SIZE=0", "RANK=3", "LOCAL_RANK=", "MASTER_PORT=99999"]
)
def test_an_impossible_group_is_refused(clean: pytest.MonkeyPatch, wrong: str) -> None:
    for name, value in GROUP.items():
        clean.setenv(name, value)
    assert shard_from_env() == Shard(rank=2, size=3)
    clean.setenv(*wrong.split("="))
    with pytest.raises(ConfigError, match=f"{wrong}.*`unset MASTER_ADDR`"):
        shard_from_env()
