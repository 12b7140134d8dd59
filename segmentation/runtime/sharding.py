"""How a batch is divided among the processes that train together."""

import dataclasses
import os
from collections.abc import Sequence
from typing import TypeVar

_Item = TypeVar("_Item")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """One process's part of every batch.

    Attributes:
        rank: which part, from 0.
        size: how many parts there are, at least 1.
    """

    rank: int = 0
    size: int = 1

    def of(self, batch: Sequence[_Item]) -> Sequence[_Item]:
        """Return this part; all of them in turn are the batch, and none is larger by two."""
        return batch[self.start(len(batch)) : self.start(len(batch), self.rank + 1)]

    def start(self, length: int, rank: int | None = None) -> int:
        """Return where in a batch of a length a part begins, this one unless `rank` is given."""
        return length * (self.rank if rank is None else rank) // self.size


#: All of it.
FULL = Shard()


def shard_from_env() -> Shard:
    """Return the part of the process that this is, as `torchrun` has started it; else all of it."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "RANK" not in os.environ:
        return FULL
    return Shard(rank=int(os.environ["RANK"]), size=size)
