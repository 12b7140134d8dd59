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
from segmentation.data.augmentation.augmenter import Augmenter
from segmentation.data.dataset import SplitDataset
from segmentation.data.images.examples import COUNTS_SHIFT, PET_BIT, Bytes
from segmentation.data.own_augmentation import Pipeline
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
    """Tensors of N images.

    Attributes:
        image: uint8 (N, 3, S, S), RGB.
        mask: uint8 (N, 1, S, S) in {0, 1}, 1 = pet.
        valid: uint8 (N, 1, S, S) in {0, 1}; pixels with 0 count nowhere.
    """

    image: Tensor
    mask: Tensor
    valid: Tensor

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
    """See that there is room for the locks of so many loader processes.

    Raises:
        ConfigError: there is not, as in some containers.
    """
    needed = (32 + 12 * workers) * 1024 if workers else 0  # a page each
    with contextlib.suppress(OSError):  # other systems keep them elsewhere
        free = shutil.disk_usage("/dev/shm").free  # noqa: S108
        if free < needed:
            raise ConfigError(
                f"loader_workers={workers}: takes {needed // 1024} KiB of shared memory, /dev/shm "
                f"has {free // 1024} left; lower it, or start the container with --shm-size=64m"
            )


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
        #: Height and width of the images, in pixels.
        self.image_size = train.pixels.size
        self._shard = shard
        self._val, self._dataset = val.pixels, _AugmentedDataset(train, config, augmentation)
        self._sampler = _EpochSampler(
            len(train), config.batch_size, config.seed, self.image_size, shard
        )
        pinned = torch.cuda.is_available() and config.device in ("auto", "cuda")
        # On a CPU, whatever prepares data takes its time from the network; a GPU must not wait.
        self.ahead = pinned and not config.loader_workers
        self._workers, self._at_once = config.loader_workers, _AT_ONCE
        self._loader: DataLoader[Batch | PetsegError] = DataLoader(
            self._dataset,
            batch_sampler=self._sampler,
            num_workers=config.loader_workers,
            collate_fn=_as_is,
            pin_memory=pinned,
            persistent_workers=config.loader_workers > 0,
            # Threads run by now, and a forked process would inherit whatever locks they hold.
            multiprocessing_context="spawn" if config.loader_workers else None,
            worker_init_fn=_heed_parent,
        )

    def __len__(self) -> int:
        """Return the number of steps an epoch; the last batch may be smaller."""
        return len(self._sampler)

    def global_batch_size(self, step: int) -> int:
        """Return how many images a batch of an epoch has, all shards together."""
        return min(self.batch_size, self.train_size - step * self.batch_size)

    def epoch(self, number: int, size: int = 0, skip: int = 0) -> Iterator[Batch]:
        """Yield the training batches of one epoch, of each the shard.

        Where a batch has fewer images than there are shards, an empty shard gets an image that
        counts nowhere, so that every process takes every step.

        Args:
            number: of the epoch, from 1: other draws, another order.
            size: height and width of the variants, in pixels; 0: of the images.
            skip: so many batches at the beginning are not prepared.

        Raises:
            DataError: pixels are not in memory, and their files were changed.
        """
        self._sampler.epoch, self._sampler.size = number, size or self.image_size
        self._sampler.skip = skip
        if self._workers:
            prepared: Iterable[Batch | PetsegError] = self._loader
        elif self.ahead:
            prepared = prefetch(self._prepare, self._sampler, 1)
        else:
            prepared = self._in_groups()
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

    def _in_groups(self) -> Iterator[Batch | PetsegError]:
        """Prepare several batches in one call, then hand them out."""
        bytes_each = self.batch_size * self._sampler.size**2 * _PER_PIXEL
        for some in batched(self._sampler, max(1, self._at_once // bytes_each)):
            group = self._dataset.__getitems__(list(itertools.chain.from_iterable(some)))
            if isinstance(group, PetsegError):
                yield group
                return
            sizes = [len(batch) for batch in some]
            parts = (torch.split(tensor, sizes) for tensor in group)
            yield from itertools.starmap(Batch, zip(*parts, strict=True))

    def _prepare(self, positions: "list[_Position]") -> Batch | PetsegError:
        batch = self._dataset.__getitems__(positions)
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


#: Epoch, size of the variant in pixels, and index of the image. An index below 0 is that of an
#: image, bit by bit inverted, that counts nowhere.
_Position = tuple[int, int, int]


class _EpochSampler:
    """Yields the positions of the shard of each batch, all of an epoch's but the first `skip`."""

    def __init__(self, images: int, batch_size: int, seed: int, size: int, shard: Shard) -> None:
        self.images, self.batch_size, self.seed, self.shard = images, batch_size, seed, shard
        self.epoch, self.size, self.skip = 0, size, 0

    def __len__(self) -> int:
        return -(-self.images // self.batch_size)

    def __iter__(self) -> Iterator[list[_Position]]:
        generator = np.random.default_rng([self.seed, self.epoch])
        order = generator.permutation(self.images).tolist()
        for some in batched(order[self.skip * self.batch_size :], self.batch_size):
            mine = self.shard.of(some) or [~some[0]]
            yield [(self.epoch, self.size, index) for index in mine]


class _AugmentedDataset(Dataset[Batch | PetsegError]):
    """Makes a whole batch at a time, so that nothing is collated piece by piece."""

    def __init__(
        self, train: SplitDataset, config: TrainingConfig, augmentation: Pipeline | None
    ) -> None:
        self._pixels = train.pixels
        self._keys = [_hash(example.id) for example in train.examples]
        self._augment = Augmenter(config.augment, config.seed, augmentation)

    def __getitems__(self, positions: list[_Position]) -> Batch | PetsegError:
        """Return a batch, or what is wrong: raised here, it would reach the user as a traceback."""
        epoch, size, _ = positions[0]
        indices = [index if index >= 0 else ~index for _, _, index in positions]
        keys = [self._keys[index] for index in indices]
        try:
            pixels = self._pixels.gather(indices)
            images, flags = self._augment(*pixels, epoch, keys, size)
        except (ConfigError, DataError) as error:
            return error
        flags[[index < 0 for _, _, index in positions]] = 0
        return to_batch(images, flags)


def _hash(name: str) -> int:
    """Turn an id into 32 bits, so that an image's draws do not depend on which others there are."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")


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


def _as_is(batch: Any) -> Batch:
    return batch  # type: ignore[no-any-return]
