"""How a batch is divided among processes."""

import itertools

import pytest

from segmentation.runtime.sharding import Shard


@pytest.mark.parametrize("size", range(1, 10))
def test_shards_are_the_batch_and_as_even_as_can_be(size: int) -> None:
    for batch in (list(range(images)) for images in range(30)):
        shards = [Shard(rank=rank, size=size).of(batch) for rank in range(size)]
        assert list(itertools.chain.from_iterable(shards)) == batch
        lengths = [len(shard) for shard in shards]
        assert max(lengths) - min(lengths) <= 1
