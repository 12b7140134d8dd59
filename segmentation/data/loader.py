"""Hand out batches of decoded images.

An epoch's batches depend on the seed, the epoch and the images alone, not on how many processes
prepare them: the sampler's indices carry the epoch along.
"""

import contextlib
import hashlib
import itertools
import os
import shutil
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segmentation.config.training import TrainingConfig
from segmentation.data.augmentation.pipeline import Pipeline
from segmentation.data.augmentation.transforms import Augmenter
from segmentation.data.dataset import SplitDataset
from segmentation.data.images.examples import COUNTS_SHIFT, PET_BIT, Bytes
from segmentation.errors import ConfigError, DataError, PetsegError
from segmentation.runtime.sharding import FULL, Shard
from segmentation.runtime.worker_pool import end_with_parent
from segmentation.utils.concurrency import batched, prefetch

# Bytes of the batches that are prepared in one call. To prepare each just before its step would be
# slower: the network's arithmetic has pushed code and tables out of the processor's caches.
_AT_ONCE = 8 << 20
_LAST_STEP = 5.0  # seconds
_PER_PIXEL = 4  # bytes: red, green, blue and the flags


class Batch(NamedTuple):
    """Tensors of N images."""

    image: Tensor  # uint8 (N, 3, S, S), RGB
    mask: Tensor  # uint8 (N, 1, S, S) in {0, 1}, 1 = pet
    valid: Tensor  # uint8 (N, 1, S, S) in {0, 1}; pixels with 0 count nowhere

    def to(self, device: torch.device) -> "Batch":
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in self))

    def __reduce__(self) -> tuple[Any, ...]:
        """Let loader processes send arrays through a pipe.

        Tensors would go through shared memory: containers have 64 MiB of it, and whoever writes to
        what is not there is killed.
        """
        flags = (self.mask | self.valid << COUNTS_SHIFT).squeeze(1)
        return to_batch, (self.image.permute(0, 2, 3, 1).numpy(), flags.numpy())


def to_batch(images: Bytes, flags: Bytes) -> Batch:
    """Turn uint8 (N, S, S, 3) and flags (N, S, S) into a batch; the image is channels-last."""
    return Batch(
        image=torch.from_numpy(images).permute(0, 3, 1, 2),
        mask=torch.from_numpy(flags & PET_BIT).unsqueeze(1),
        valid=torch.from_numpy(flags >> COUNTS_SHIFT).unsqueeze(1),
    )


def require_shared_memory(workers: int) -> None:
    """See that there is room for the locks of so many loader processes, as in a small container.

    Raises:
        ConfigError: there is not.
    """
    needed = (32 + 12 * workers) * 1024 if workers else 0  # a page each
    with contextlib.suppress(OSError):  # other systems keep them elsewhere
        free = shutil.disk_usage("/dev/shm").free  # noqa: S108
        if free < needed:
            raise ConfigError(
                f"loader_workers={workers}: takes {needed // 1024} KiB of shared memory, /dev/shm "
                f"has {free // 1024} left; lower it, or start the container with --shm-size=64m"
            )


#: Epoch, size of the variants in pixels, and the images of a batch. An index below 0 is that of an
#: image, bit by bit inverted, that counts nowhere.
_Order = tuple[int, int, Sequence[int]]


class BatchLoader:
    """The training split, augmented and shuffled anew each epoch, and the validation split."""

    def __init__(
        self,
        train: SplitDataset,
        val: SplitDataset,
        config: TrainingConfig,
        shard: Shard = FULL,
        augmentation: Pipeline | None = None,
    ) -> None:
        self.train_size, self.val_size = len(train), len(val)
        self.batch_size = config.batch_size
        self.image_size = train.pixels.size  # height and width, in pixels
        self._seed, self._shard = config.seed, shard
        self._val, self._dataset = val.pixels, _AugmentedDataset(train, config, augmentation)
        pinned = torch.cuda.is_available() and config.device in ("auto", "cuda")
        # On a CPU, whatever prepares data takes its time from the network; a GPU must not wait.
        self.ahead, self._at_once = pinned, _AT_ONCE
        self._orders: list[_Order] = []  # for loader processes
        self._loader: DataLoader[Batch | PetsegError] | None = None
        if config.loader_workers:
            self._loader = DataLoader(
                self._dataset,
                batch_size=None,  # an order is a whole batch
                sampler=self._orders,
                generator=torch.Generator(),  # else it draws from the user's
                num_workers=config.loader_workers,
                pin_memory=pinned,
                persistent_workers=True,
                # Threads run by now, and a forked process would inherit whatever locks they hold.
                multiprocessing_context="spawn",
                worker_init_fn=_heed_parent,
            )

    def close(self) -> None:
        """End the loader processes; an error's traceback would keep them."""
        running: Any = self._loader and self._loader._iterator
        if running:
            running._shutdown_workers()

    def __len__(self) -> int:
        """Return the number of steps an epoch; the last batch may be smaller."""
        return -(-self.train_size // self.batch_size)

    def global_batch_size(self, step: int) -> int:
        """Return how many images a batch of an epoch has, all shards together."""
        return min(self.batch_size, self.train_size - step * self.batch_size)

    def epoch(self, number: int, size: int = 0, skip: int = 0) -> Iterator[Batch]:
        """Yield the training batches of one epoch, of each the shard, but for the first `skip`.

        Where a batch has fewer images than there are shards, an empty shard gets an image that
        counts nowhere, so that every process takes every step. `size` is the variants' height and
        width, in pixels; 0: that of the images.

        Raises:
            DataError: pixels are not in memory, and their files were changed.
        """
        size = size or self.image_size
        shuffled = np.random.default_rng([self._seed, number]).permutation(self.train_size).tolist()
        orders = [
            (number, size, self._shard.of(batch) or [~batch[0]])
            for batch in batched(shuffled[skip * self.batch_size :], self.batch_size)
        ]
        prepared: Iterable[Batch | PetsegError]
        if self._loader is not None:
            self._orders[:], prepared = orders, self._loader
        elif self.ahead:
            prepared = prefetch(self._prepare, orders, 1)
        else:
            prepared = self._in_groups(orders, size)
        for batch in prepared:
            if isinstance(batch, PetsegError):
                raise batch
            yield batch

    @contextlib.contextmanager
    def one_at_a_time(self) -> Iterator[None]:
        """Prepare each batch when it is asked for, so that every step costs the same."""
        self._at_once = 0
        try:
            yield
        finally:
            self._at_once = _AT_ONCE

    def _in_groups(self, orders: list[_Order], size: int) -> Iterator[Batch | PetsegError]:
        """Prepare several batches in one call, then hand them out."""
        bytes_each = self.batch_size * size**2 * _PER_PIXEL
        for some in batched(orders, max(1, self._at_once // bytes_each)):
            parts = [indices for *_, indices in some]
            group = self._dataset[some[0][0], size, list(itertools.chain.from_iterable(parts))]
            if isinstance(group, PetsegError):
                yield group
                return
            tensors = (torch.split(tensor, list(map(len, parts))) for tensor in group)
            yield from itertools.starmap(Batch, zip(*tensors, strict=True))

    def _prepare(self, order: _Order) -> Batch | PetsegError:
        batch = self._dataset[order]
        if isinstance(batch, PetsegError) or not torch.cuda.is_available():
            return batch
        return Batch(*(tensor.pin_memory() for tensor in batch))

    def validation_share(self) -> Iterator[tuple[Sequence[int], Batch | None]]:
        """Yield the validation split in order, without augmentation, in larger batches.

        Of each its positions and the shard, None where that is empty.
        """
        for some in batched(range(self.val_size), 4 * self.batch_size):
            mine = self._shard.of(some)
            yield some, to_batch(*self._val.gather(mine)) if mine else None


class _AugmentedDataset(Dataset[Batch | PetsegError]):
    """Makes a whole batch at a time, so that nothing is collated piece by piece."""

    def __init__(
        self, train: SplitDataset, config: TrainingConfig, augmentation: Pipeline | None
    ) -> None:
        self._pixels = train.pixels
        # An id as 32 bits, so that an image's draws do not depend on which others there are.
        digests = (hashlib.sha256(example.id.encode()).digest() for example in train.examples)
        self._keys = [int.from_bytes(digest[:4], "big") for digest in digests]
        self._augment = Augmenter(config.augment, config.seed, augmentation)

    def __getitem__(self, order: _Order) -> Batch | PetsegError:
        """Return a batch, or what is wrong: raised here, it would reach the user as a traceback."""
        epoch, size, positions = order
        indices = [index if index >= 0 else ~index for index in positions]
        keys = [self._keys[index] for index in indices]
        try:
            pixels = self._pixels.gather(indices)
            images, flags = self._augment(*pixels, epoch, keys, size)
        except (ConfigError, DataError) as error:
            return error
        flags[[index < 0 for index in positions]] = 0
        return to_batch(images, flags)


def _heed_parent(_worker: int) -> None:
    """Let a loader process go on for a while when it is asked to end, unless its parent is gone.

    A terminal's Ctrl-C, or its end, and torchrun's SIGTERM reach every process, and the training
    has a step to finish. PyTorch's own look at the parent is for nothing where that went before the
    loader had started.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: threading.Timer(_LAST_STEP, os._exit, [0]).start())
    end_with_parent(0.0)
