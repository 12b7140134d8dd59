"""How a batch is divided among processes."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from segmentation.runtime.sharding import Shard


@given(st.integers(0, 50), st.integers(1, 9))
def test_shards_are_the_batch_and_as_even_as_can_be(images: int, size: int) -> None:
    batch = list(range(images))
    shards = [Shard(rank=rank, size=size).of(batch) for rank in range(size)]
    assert list(itertools.chain.from_iterable(shards)) == batch
    lengths = [len(shard) for shard in shards]
    assert max(lengths) - min(lengths) <= 1
