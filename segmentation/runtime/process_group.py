"""The processes that train one model together, as PyTorch's `torchrun` starts them.

Nothing here is needed where one process trains alone: then each sum is the figure itself.
"""

import contextlib
import datetime
import hashlib
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from segmentation.errors import PeerLostError
from segmentation.runtime.normalization import SyncedBatchNorm2d, synchronized
from segmentation.runtime.sharding import FULL, Shard, shard_from_env
from segmentation.utils.environment import seconds_in

#: The environment variable with the seconds after which a process that does not answer is given up.
VARIABLE, PATIENCE = "PETSEG_GROUP_SECONDS", 120.0
# For what one process does while the others wait: decoding, or all that follows the last epoch.
_LONG = datetime.timedelta(hours=12)


class ProcessGroup:
    """One process among those that train together; this very class is one that trains alone.

    Attributes:
        share: its part of every batch.
        local_rank: its number among those of its machine, from 0.
        key: names this training among all that one tracking store has; empty: it has no name.
    """

    def __init__(self, share: Shard = FULL, local_rank: int = 0, key: str = "") -> None:
        """Describe it."""
        self.share, self.local_rank, self.key = share, local_rank, key

    @property
    def is_main_process(self) -> bool:
        """Whether this is the process that speaks for all of them."""
        return self.share.rank == 0

    def wrap_model(self, model: nn.Module) -> tuple[nn.Module, nn.Module]:
        """Return the model that holds the weights, and what is called in training."""
        return model, model

    def begin(self, images: int) -> None:
        """Begin a step with a batch of so many images, all shares together."""

    def all_reduce_async(self, tensor: Tensor) -> Callable[[], Tensor]:
        """Begin to add a tensor up, in place; return what waits for it."""
        return lambda: tensor

    def all_reduce(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return an array added up over all processes."""
        return values

    def broadcast(self, value: Any, *, patient: bool = False) -> Any:
        """Return what the main process gave; of what JSON can hold.

        Args:
            value: what it gives.
            patient: whether it may have something else to do first, for hours.
        """
        return value

    def broadcast_newest(self, content: bytes | None, age: tuple[int, ...]) -> bytes | None:
        """Return the content of the process with the highest age, the first one of equals."""
        return content

    def barrier(self) -> None:
        """Wait until all have come here."""

    @contextlib.contextmanager
    def local_main_process_first(self) -> Iterator[None]:
        """Let one process of each machine do something before the others of it."""
        yield

    @contextlib.contextmanager
    def translate_peer_errors(self) -> Iterator[None]:
        """Tell the loss of another process from other errors.

        Raises:
            PeerLostError: another process has gone.
        """
        yield


#: A process that trains by itself.
SINGLE_PROCESS = ProcessGroup()


class DistributedGroup(ProcessGroup):
    """One process of several."""

    def __init__(self, share: Shard, local_rank: int, key: str) -> None:
        """Describe it, once PyTorch has joined them."""
        super().__init__(share, local_rank, key)
        # Of its own each: what is added up in the background keeps its order. Without its own
        # timeout a group has half an hour.
        patience = _patience()
        with self.translate_peer_errors():
            self._norms = cast(dist.ProcessGroup, dist.new_group(timeout=patience))
            self._words = _of_words(patience)
            self._patient = _of_words(_LONG)

    def wrap_model(self, model: nn.Module) -> tuple[nn.Module, nn.Module]:
        """Return a copy whose normalisation is over all processes, and what adds up its gradients.

        The means that `DistributedDataParallel` makes of gradients are for losses that are `size`
        times this process's part.
        """
        model = synchronized(model, self._norms)
        device = next(model.parameters()).device
        with self.translate_peer_errors(), warnings.catch_warnings():
            # Of `broadcast_buffers`, whose name will change.
            warnings.simplefilter("ignore", FutureWarning)
            parallel = nn.parallel.DistributedDataParallel(
                model,
                device_ids=[device] if device.type == "cuda" else None,
                broadcast_buffers=False,  # they are the same everywhere
            )
        return model, parallel

    def begin(self, images: int) -> None:
        """Have normalisation leave this process out where its share of a batch is empty."""
        SyncedBatchNorm2d.empty = not self.share.of(range(images))

    def all_reduce_async(self, tensor: Tensor) -> Callable[[], Tensor]:
        """Begin to add a tensor up over all processes."""
        with self.translate_peer_errors():
            work = dist.all_reduce(tensor, async_op=True)

        def summed() -> Tensor:
            with self.translate_peer_errors():
                work.wait()
            return tensor

        return summed

    def all_reduce(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return an array added up over all processes."""
        tensor = torch.from_numpy(values.copy())
        with self.translate_peer_errors():
            dist.all_reduce(tensor, group=self._words)
        return tensor.numpy()

    def broadcast(self, value: Any, *, patient: bool = False) -> Any:
        """Return what the main process gave."""
        own = json.dumps(value).encode() if self.is_main_process else b""
        return json.loads(self._bytes(own, 0, self._patient if patient else self._words))

    def broadcast_newest(self, content: bytes | None, age: tuple[int, ...]) -> bytes | None:
        """Return the content of the process with the highest age."""
        ages = np.zeros((self.share.size, len(age) + 1), np.int64)
        if content is not None:
            ages[self.share.rank] = (1, *age)
        known = [tuple(row) for row in self.all_reduce(ages).tolist()]
        best = max(range(len(known)), key=lambda rank: (known[rank], -rank))
        if not known[best][0]:
            return None
        return self._bytes(content or b"", best, self._words)

    def _bytes(self, content: bytes, source: int, group: dist.ProcessGroup) -> bytes:
        """Return what one process has; not unpickled, whatever it is."""
        length = torch.tensor([len(content)])
        with self.translate_peer_errors():
            dist.broadcast(length, source, group=group)
            tensor = torch.zeros(int(length), dtype=torch.uint8)
            if self.share.rank == source:
                tensor = torch.frombuffer(bytearray(content), dtype=torch.uint8)
            dist.broadcast(tensor, source, group=group)
        return tensor.numpy().tobytes()

    def barrier(self) -> None:
        """Wait until all have come here."""
        with self.translate_peer_errors():
            dist.barrier(group=self._patient)

    @contextlib.contextmanager
    def local_main_process_first(self) -> Iterator[None]:
        """Let one process of each machine do something before the others of it."""
        if self.local_rank:
            self.barrier()
        yield
        if not self.local_rank:
            self.barrier()

    @contextlib.contextmanager
    def translate_peer_errors(self) -> Iterator[None]:
        """Tell the loss of another process from other errors."""
        try:
            yield
        except RuntimeError as error:
            if not _of_a_peer(error):
                raise
            raise PeerLostError(PeerLostError.TEXT) from error


@contextlib.contextmanager
def init_process_group(settings: Mapping[str, Any]) -> Iterator[ProcessGroup]:
    """Join the processes that `torchrun` has started beside this one, if it has.

    Args:
        settings: what this process was asked to do, the same as the others were.

    Raises:
        PeerLostError: they do not all come.
    """
    share = shard_from_env()
    if share == FULL:
        yield SINGLE_PROCESS
        return
    patience = _patience()
    _wait_in_turn()
    try:
        # By name: what PyTorch takes for itself differs with what it finds.
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, timeout=patience)
    except RuntimeError as error:
        raise PeerLostError(f"the processes of this training did not meet ({error})") from error
    try:
        yield DistributedGroup(share, int(os.environ["LOCAL_RANK"]), _key(settings))
    finally:
        with contextlib.suppress(RuntimeError):  # one of them is gone
            dist.destroy_process_group()


def _wait_in_turn() -> None:
    """Have Linux let a thread of this process that wakes wait for those that compute.

    Gloo's thread for the network else takes the place of one that holds the very lock that it
    needs, and looks at it again and again until its turn is over, some 3 ms later. Threads that
    begin from now on do as this one.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # not everywhere may a program say how it is scheduled
            if os.sched_getscheduler(0) == os.SCHED_OTHER:
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _patience() -> datetime.timedelta:
    """Return for how long a process may keep the others waiting."""
    return datetime.timedelta(seconds=seconds_in(VARIABLE, PATIENCE))


def _of_words(patience: datetime.timedelta) -> dist.ProcessGroup:
    """Return a group for what lies in the processor's memory, whatever the device."""
    return cast(dist.ProcessGroup, dist.new_group(backend="gloo", timeout=patience))


def _key(settings: Mapping[str, Any]) -> str:
    """Return a name for this training: of the rendezvous that its processes had, and its settings.

    Processes that are started anew find the training by it. torchrun calls a rendezvous `none`
    that was given no name, so that tells nothing.
    """
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    if name == "none":
        return ""
    return hashlib.sha256(json.dumps([name, settings], sort_keys=True).encode()).hexdigest()


def _of_a_peer(error: RuntimeError) -> bool:
    """Tell whether an error of PyTorch's comes from another process."""
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error)
