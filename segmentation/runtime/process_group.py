"""The processes that train one model together, as PyTorch's `torchrun` starts them."""

import contextlib
import copy
import datetime
import hashlib
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from segmentation.errors import PeerLostError
from segmentation.runtime.sharding import FULL, Shard, shard_from_env
from segmentation.utils.environment import seconds_in

#: The environment variable with the seconds after which a process that does not answer is given up.
VARIABLE, TIMEOUT = "PETSEG_GROUP_SECONDS", 120.0
# For what one process does while the others wait: decoding, or all that follows the last epoch.
_LONG_TIMEOUT = datetime.timedelta(hours=12)


class ProcessGroup:
    """One process among those that train together; this very class is one that trains alone.

    Attributes:
        shard: its part of every batch.
        local_rank: its number among those of its machine, from 0.
        key: names this training among all that one tracking store has; empty: it has no name.
        is_main_process: whether it tracks, prints and keeps checkpoints.
    """

    def __init__(self, shard: Shard = FULL, local_rank: int = 0, key: str = "") -> None:
        self.shard, self.local_rank, self.key = shard, local_rank, key
        self.is_main_process = shard.rank == 0

    def wrap_model(self, model: nn.Module) -> tuple[nn.Module, nn.Module]:
        """Return the model that holds the weights, and what is called in training."""
        return model, model

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes; the tensor itself may change."""
        return tensor

    def sync_buffers(self, model: nn.Module) -> None:
        """Have the main process's buffers, such as running statistics, everywhere."""

    def broadcast_bytes(self, content: bytes, *, long_timeout: bool = False) -> bytes:
        """Return the main process's bytes; it may have something else to do first, for hours."""
        return content

    def broadcast(self, value: Any, *, long_timeout: bool = False) -> Any:
        """Return the main process's value, of what JSON can hold."""
        # Not `broadcast_object_list`, which unpickles what comes over the network.
        content = json.dumps(value).encode() if self.is_main_process else b""
        return json.loads(self.broadcast_bytes(content, long_timeout=long_timeout))

    def barrier(self) -> None:
        """Wait, for hours if need be, until all have come here."""

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
        """Raise a PeerLostError where another process has gone, or does not answer."""
        try:
            yield
        except RuntimeError as error:
            if not isinstance(error, dist.DistError) and "gloo" not in str(error):
                raise
            raise PeerLostError(PeerLostError.TEXT) from error


#: A process that trains by itself.
SINGLE_PROCESS = ProcessGroup()


class DistributedGroup(ProcessGroup):
    """One process of several, once PyTorch has joined them."""

    def __init__(self, shard: Shard, local_rank: int, key: str) -> None:
        super().__init__(shard, local_rank, key)
        with self.translate_peer_errors():
            patient = dist.new_group(backend="gloo", timeout=_LONG_TIMEOUT)
        self._patient = cast(dist.ProcessGroup, patient)

    def wrap_model(self, model: nn.Module) -> tuple[nn.Module, nn.Module]:
        """Return the model, and what averages its gradients over the processes.

        On GPUs batch normalization is over the whole batch; torch's SyncBatchNorm cannot do that on
        CPUs, where each process normalizes its own part.
        """
        device = next(model.parameters()).device
        if device.type == "cuda":
            # Torch's own would take the activations away that timm has within normalization.
            from timm.layers import convert_sync_batchnorm

            model = cast(nn.Module, convert_sync_batchnorm(copy.deepcopy(model)))  # else in place
        with self.translate_peer_errors(), warnings.catch_warnings():
            # Of `broadcast_buffers`, whose name will change.
            warnings.simplefilter("ignore", FutureWarning)
            parallel = nn.parallel.DistributedDataParallel(
                model,
                device_ids=[device] if device.type == "cuda" else None,
                broadcast_buffers=False,  # `sync_buffers` does it once an epoch
            )
        return model, parallel

    def all_reduce(self, tensor: Tensor) -> Tensor:
        with self.translate_peer_errors():
            dist.all_reduce(tensor)
        return tensor

    def sync_buffers(self, model: nn.Module) -> None:
        with self.translate_peer_errors():
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)

    def broadcast_bytes(self, content: bytes, *, long_timeout: bool = False) -> bytes:
        group = self._patient if long_timeout else None
        length = torch.tensor([len(content)])
        with self.translate_peer_errors():
            dist.broadcast(length, 0, group=group)
            tensor = torch.zeros(int(length), dtype=torch.uint8)
            if self.is_main_process and content:
                tensor = torch.frombuffer(bytearray(content), dtype=torch.uint8)
            dist.broadcast(tensor, 0, group=group)
        return tensor.numpy().tobytes()

    def barrier(self) -> None:
        with self.translate_peer_errors():
            dist.barrier(group=self._patient)


@contextlib.contextmanager
def init_process_group(settings: Mapping[str, Any]) -> Iterator[ProcessGroup]:
    """Join the processes that `torchrun` has started beside this one, if it has.

    `settings` are what all of them were asked to do.

    Raises:
        PeerLostError: they do not all come.
    """
    shard = shard_from_env()
    if shard == FULL:
        yield SINGLE_PROCESS
        return
    try:
        # By name: what PyTorch takes for itself differs with what it finds.
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        timeout = datetime.timedelta(seconds=seconds_in(VARIABLE, TIMEOUT))
        dist.init_process_group(backend, timeout=timeout)
    except RuntimeError as error:
        raise PeerLostError(f"the processes of this training did not meet ({error})") from error
    try:
        yield DistributedGroup(shard, int(os.environ["LOCAL_RANK"]), _key(settings))
    finally:
        with contextlib.suppress(RuntimeError):  # one of them is gone
            dist.destroy_process_group()


def _key(settings: Mapping[str, Any]) -> str:
    """Return a name for this training: of the rendezvous that its processes had, and its settings.

    Processes that are started anew find the training's run by it. torchrun calls a rendezvous
    `none` that was given no name, so that tells nothing.
    """
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    if name == "none":
        return ""
    return hashlib.sha256(json.dumps([name, settings], sort_keys=True).encode()).hexdigest()
