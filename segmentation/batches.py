"""Hand out batches of what was decoded.

An epoch's batches depend on the seed, the epoch and the images alone, not on how many processes
prepare them: the sampler's indices carry the epoch along.
"""

import dataclasses
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segmentation.augment import Augmenter
from segmentation.config import TrainingConfig
from segmentation.decoding import Decoded


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
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
        """Return the batch on another device."""
        return Batch(
            image=self.image.to(device, non_blocking=True),
            mask=self.mask.to(device, non_blocking=True),
            valid=self.valid.to(device, non_blocking=True),
        )

    def pin_memory(self) -> "Batch":
        """Return the batch in page-locked memory, from which copies to a GPU run alongside."""
        return Batch(
            image=self.image.pin_memory(),
            mask=self.mask.pin_memory(),
            valid=self.valid.pin_memory(),
        )


def to_batch(images: Tensor, masks: Tensor) -> Batch:
    """Turn uint8 (N, S, S, 3) and (N, S, S, 2) into a batch; the image is channels-last."""
    return Batch(
        image=images.permute(0, 3, 1, 2),
        mask=masks[..., 0].unsqueeze(1),
        valid=masks[..., 1].unsqueeze(1),
    )


class Batches:
    """The training split, augmented and shuffled anew each epoch, and the validation split."""

    def __init__(self, train: Decoded, val: Decoded, config: TrainingConfig) -> None:
        """Prepare loading; processes, if any, start with the first epoch."""
        self.train_size = len(train)
        self.batch_size = config.batch_size
        self.val = to_batch(torch.from_numpy(val.images), torch.from_numpy(val.masks))
        self._sampler = _EpochSampler(len(train), config.batch_size, config.seed)
        self._loader: DataLoader[Batch] = DataLoader(
            _Augmented(train, config),
            batch_sampler=self._sampler,
            num_workers=config.loader_workers,
            collate_fn=_as_is,
            pin_memory=torch.cuda.is_available() and config.device in ("auto", "cuda"),
            persistent_workers=config.loader_workers > 0,
            # Threads run by now, and a forked process would inherit whatever locks they hold.
            multiprocessing_context="spawn" if config.loader_workers else None,
        )

    def __len__(self) -> int:
        """Return the number of steps an epoch; the last batch may be smaller."""
        return len(self._sampler)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the training batches of one epoch."""
        self._sampler.epoch = number
        batches = iter(self._loader)
        # One batch ahead: it is augmented in the gaps that the network's arithmetic leaves.
        with ThreadPoolExecutor(max_workers=1) as ahead:
            following = ahead.submit(next, batches, None)
            while (batch := following.result()) is not None:
                following = ahead.submit(next, batches, None)
                yield batch

    def validation(self) -> Iterator[Batch]:
        """Yield the validation split in order, without augmentation, in larger batches."""
        size = 4 * self.batch_size
        for start in range(0, len(self.val.image), size):
            part = slice(start, start + size)
            yield Batch(
                image=self.val.image[part], mask=self.val.mask[part], valid=self.val.valid[part]
            )


class _EpochSampler:
    """Yields batches of (epoch, index)."""

    def __init__(self, size: int, batch_size: int, seed: int) -> None:
        self.size, self.batch_size, self.seed, self.epoch = size, batch_size, seed, 0

    def __len__(self) -> int:
        return -(-self.size // self.batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        generator = np.random.default_rng([self.seed, self.epoch])
        order = generator.permutation(self.size).tolist()
        for start in range(0, self.size, self.batch_size):
            yield [(self.epoch, index) for index in order[start : start + self.batch_size]]


class _Augmented(Dataset[Batch]):
    """Makes a whole batch at a time, so that nothing is collated piece by piece."""

    def __init__(self, train: Decoded, config: TrainingConfig) -> None:
        # Tensors reach loader processes as shared memory, not as copies.
        self._images, self._masks = torch.from_numpy(train.images), torch.from_numpy(train.masks)
        self._keys = [_number(example.id) for example in train.examples]
        self._augment = Augmenter(config.augment, train.images.shape[1], config.seed)

    def __getitems__(self, positions: list[tuple[int, int]]) -> Batch:
        variants = [
            self._augment(self._images[i].numpy(), self._masks[i].numpy(), epoch, self._keys[i])
            for epoch, i in positions
        ]
        return to_batch(
            torch.from_numpy(np.stack([image for image, _ in variants])),
            torch.from_numpy(np.stack([masks for _, masks in variants])),
        )


def _number(name: str) -> int:
    """Turn an id into 32 bits, so that an image's draws do not depend on which others there are."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")


def _as_is(batch: Any) -> Batch:
    return batch  # type: ignore[no-any-return]
