"""How a batch is divided among the processes that train together."""

import dataclasses
import os
from collections.abc import Sequence
from typing import TypeVar

from segmentation.errors import ConfigError

_Item = TypeVar("_Item")
_VARIABLES = ("MASTER_ADDR", "WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_PORT")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """One process's part of every batch."""

    rank: int = 0  # which part
    size: int = 1  # how many there are

    def of(self, batch: Sequence[_Item]) -> Sequence[_Item]:
        """Return this part; all of them in turn are the batch, and none is larger by two."""
        first, last = (len(batch) * rank // self.size for rank in (self.rank, self.rank + 1))
        return batch[first:last]


#: All of it.
FULL = Shard()


def shard_from_env() -> Shard:
    """Return the part of the process that this is, as `torchrun` has started it; else all of it.

    Slurm, notebooks and others set some of these variables. They mean a group of processes only
    where they also say where it meets. If they cannot be right, it raises a ConfigError.
    """
    address, *others = (os.environ.get(name, "") for name in _VARIABLES)
    if not address or not all(others[:2]):
        return FULL
    size, rank, local_rank, port = (int(text) if text.isdecimal() else -1 for text in others)
    if size == 1:
        return FULL
    if not (0 <= rank < size and 0 <= local_rank < size and 0 < port < 2**16):
        given = ", ".join(f"{name}={os.environ.get(name, '')}" for name in _VARIABLES)
        raise ConfigError(
            f"{given}: these cannot be of processes that train together; `torchrun` sets them, or "
            "say processes; to train alone `unset MASTER_ADDR`"
        )
    return Shard(rank=rank, size=size)
