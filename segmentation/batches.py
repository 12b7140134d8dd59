"""Decode once, keep uint8 in memory, hand out batches.

An epoch's batches depend on the seed, the epoch and the images alone, not on how many processes
prepare them: the sampler's indices carry the epoch along.
"""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segmentation.augment import Augmenter
from segmentation.config import DataConfig, TrainingConfig
from segmentation.errors import DataError
from segmentation.pets import Example, ExampleError, binary_mask, decode, read_files
from segmentation.splits import check_pet_share, find_twins
from segmentation.unet import resize_image

#: Called with the number of examples done and of all.
Progress = Callable[[int, int], None]


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decoded:
    """One split in memory.

    Attributes:
        name: `train`, `val`, ...
        examples: N of them, in the order of the arrays.
        images: uint8 (N, S, S, 3), RGB.
        masks: uint8 (N, S, S, 2) in {0, 1}: the mask, and the pixels that count.
        digest: SHA-256 over ids and files, hexadecimal.
        problems: one line for each example left out.
    """

    name: str
    examples: tuple[Example, ...]
    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    digest: str
    problems: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.examples)

    def pet_share(self) -> float:
        """Return the share of pet among the pixels that count, in [0, 1]."""
        counted = int(self.masks[..., 1].sum(dtype=np.int64))
        return int(self.masks[..., 0].sum(dtype=np.int64)) / max(1, counted)


def load_splits(
    parts: dict[str, Sequence[Example]], config: DataConfig, progress: Progress
) -> dict[str, Decoded]:
    """Verify and decode the splits that a run uses.

    Raises:
        DataError: files cannot be used (all are named) and `bad_examples` is `stop`, or too few
            are left, or a picture stands in two splits, or the masks cannot be pets.
    """
    outcomes: dict[str, list[_Outcome]] = {}
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        done, total = 0, sum(map(len, parts.values()))
        for name, examples in parts.items():
            outcomes[name] = []
            for outcome in pool.map(lambda e: _decode_one(e, config), examples):
                outcomes[name].append(outcome)
                done += 1
                progress(done, total)
    twins = find_twins(
        (name, outcome.example, outcome.image_digest)
        for name, results in outcomes.items()
        for outcome in results
        if not outcome.problem
    )
    for results in outcomes.values():
        for position, outcome in enumerate(results):
            if twin := twins.get(outcome.example.id):
                results[position] = _Outcome(example=outcome.example, problem=twin)
    problems = [o.problem for results in outcomes.values() for o in results if o.problem]
    if problems and config.bad_examples == "stop":
        raise DataError(
            f"{len(problems)} of {done} examples cannot be used; mend them or remove them from "
            "the lists, or say bad_examples=skip to leave them out:",
            problems,
        )
    return {name: _gather(name, results) for name, results in outcomes.items()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Outcome:
    """An example decoded to the working size, or the reason why not."""

    example: Example
    problem: str = ""
    image: NDArray[np.uint8] | None = None
    masks: NDArray[np.uint8] | None = None
    image_digest: str = ""
    digest: str = ""


def _decode_one(example: Example, config: DataConfig) -> _Outcome:
    """Read, verify and resize one example."""
    try:
        image_file, trimap_file = read_files(example)
        pixels = decode(example, image_file, trimap_file)
    except ExampleError as error:
        return _Outcome(example=example, problem=str(error))
    size = config.image_size
    masks = np.stack(binary_mask(pixels.trimap, config.border), axis=-1)
    image = resize_image(torch.from_numpy(pixels.image).permute(2, 0, 1)[None], size)
    return _Outcome(
        example=example,
        image=image[0].round().clamp(0, 255).byte().permute(1, 2, 0).numpy(),
        masks=nearest(masks, size),
        image_digest=hashlib.sha256(image_file).hexdigest(),
        digest=hashlib.sha256(image_file + trimap_file).hexdigest(),
    )


def nearest(masks: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize uint8 (H, W, C) to (size, size, C), taking the pixel under each new one's centre."""
    rows = ((np.arange(size) + 0.5) * masks.shape[0] / size).astype(np.intp)
    columns = ((np.arange(size) + 0.5) * masks.shape[1] / size).astype(np.intp)
    return np.ascontiguousarray(masks[rows[:, None], columns])


def _gather(name: str, results: list[_Outcome]) -> Decoded:
    """Stack the usable outcomes of one split."""
    good = [o for o in results if o.image is not None and o.masks is not None]
    if not good:
        raise DataError(
            f"none of the {len(results)} examples of the {name} split can be used:",
            [outcome.problem for outcome in results],
        )
    whole = hashlib.sha256()
    for outcome in sorted(good, key=lambda o: o.example.id):
        whole.update(f"{outcome.example.id} {outcome.digest}\n".encode())
    decoded = Decoded(
        name=name,
        examples=tuple(outcome.example for outcome in good),
        images=np.stack([o.image for o in good if o.image is not None]),
        masks=np.stack([o.masks for o in good if o.masks is not None]),
        digest=whole.hexdigest(),
        problems=tuple(outcome.problem for outcome in results if outcome.problem),
    )
    check_pet_share(name, decoded.pet_share())
    return decoded


def to_batch(images: NDArray[np.uint8], masks: NDArray[np.uint8]) -> Batch:
    """Turn arrays (N, S, S, 3) and (N, S, S, 2) into a batch; the image is channels-last."""
    both = torch.from_numpy(masks)
    return Batch(
        image=torch.from_numpy(images).permute(0, 3, 1, 2),
        mask=both[..., 0].unsqueeze(1),
        valid=both[..., 1].unsqueeze(1),
    )


class Batches:
    """The training split, augmented and shuffled anew each epoch, and the validation split."""

    def __init__(self, train: Decoded, val: Decoded, config: TrainingConfig) -> None:
        """Prepare loading; processes, if any, start with the first epoch."""
        self.train_size = len(train)
        self.batch_size = config.batch_size
        self.val = to_batch(val.images, val.masks)
        self._sampler = _EpochSampler(len(train), config.batch_size, config.seed)
        self._loader: DataLoader[Batch] = DataLoader(
            _Augmented(train, config),
            batch_sampler=self._sampler,
            num_workers=config.loader_workers,
            collate_fn=_as_is,
            pin_memory=torch.cuda.is_available() and config.device in ("auto", "cuda"),
            persistent_workers=config.loader_workers > 0,
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
        self._images, self._masks = train.images, train.masks
        self._augment = Augmenter(config.augment, train.images.shape[1], config.seed)

    def __getitems__(self, keys: list[tuple[int, int]]) -> Batch:
        variants = [
            self._augment(self._images[index], self._masks[index], epoch, index)
            for epoch, index in keys
        ]
        return to_batch(
            np.stack([image for image, _ in variants]), np.stack([masks for _, masks in variants])
        )


def _as_is(batch: Any) -> Batch:
    return batch  # type: ignore[no-any-return]
