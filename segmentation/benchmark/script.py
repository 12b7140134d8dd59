"""A training as the well-known scripts do it, so that ours has something to be held against.

Float32 and contiguous tensors; files decoded from disk and resized anew in each epoch; horizontal
flips; Adam at a constant rate; batches of 16. The device is waited for at each step, since the
scripts print each loss; the last weights are the ones that count. Where the device is not the CPU,
a process a core decodes ahead into page-locked memory, as there the scripts do; on the CPU, where
the network needs every core, the training process itself decodes.
"""

import copy
import os
import time
from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, get_worker_info

from segmentation.benchmark.ours import Timed
from segmentation.data.images.examples import binary_mask, decode_image, decode_trimap
from segmentation.data.oxford_pets import Example
from segmentation.runtime.device import wait

BATCH = 16


class ScriptTraining:
    """One such training, which can be stopped and go on."""

    def __init__(
        self,
        network: nn.Module,
        examples: Sequence[Example],
        size: int,
        lr: float,
        seed: int,
        device: torch.device,
        batch: int = BATCH,
    ) -> None:
        """Prepare it.

        Args:
            network: maps float (N, 3, S, S) in [0, 255] to logits (N, 1, S, S).
            examples: to train on, verified before; the border counts as pet.
            size: S, in pixels.
            lr: Adam's learning rate.
            seed: of order and flips.
            device: where to train.
            batch: images a step.
        """
        self.network = network.to(device).train()
        self.images, self.seconds = 0, 0.0
        self._optimizer = torch.optim.Adam(self.network.parameters(), lr=lr)
        self._criterion = nn.BCEWithLogitsLoss()
        self._device, self._examples = device, len(examples)
        workers = 0 if device.type == "cpu" else os.cpu_count() or 1
        loader = DataLoader(
            _Files(examples, size, seed),
            batch_size=batch,
            shuffle=True,
            generator=torch.Generator().manual_seed(seed),
            num_workers=workers,
            worker_init_fn=_draw_apart,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
            # Threads run by now, and a forked process would inherit whatever locks they hold.
            multiprocessing_context="spawn" if workers else None,
        )
        self._batches = _forever(loader)

    def step(self) -> int:
        """Update the weights once; return the number of images of the batch."""
        started = time.perf_counter()
        image, mask = (one.to(self._device) for one in next(self._batches))
        loss = self._criterion(self.network(image), mask)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        wait(self._device)
        self.images += len(image)
        self.seconds += time.perf_counter() - started
        return len(image)

    def run(self, until: float) -> Timed:
        """Train until so many seconds of training are over; return a copy of the network."""
        while self.seconds < until:
            self.step()
        return Timed(
            network=copy.deepcopy(self.network),
            seconds=self.seconds,
            images=self.images,
            epochs=self.images / self._examples,
        )


class _Files(Dataset[tuple[Tensor, Tensor]]):
    """Decodes an image and its mask each time one asks."""

    def __init__(self, examples: Sequence[Example], size: int, seed: int) -> None:
        self._examples, self._size = examples, size
        self.random = np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        example, square = self._examples[index], (self._size, self._size)
        photo = decode_image(example.image.read_bytes(), example.image)
        trimap = decode_trimap(example.trimap.read_bytes(), example.trimap)
        image = np.array(Image.fromarray(photo).resize(square, Image.Resampling.BILINEAR))
        small = np.array(Image.fromarray(trimap).resize(square, Image.Resampling.NEAREST))
        mask, _ = binary_mask(small, "pet")
        if self.random.random() < 0.5:
            image, mask = image[:, ::-1].copy(), mask[:, ::-1].copy()
        pixels = torch.from_numpy(image).permute(2, 0, 1).float().contiguous()
        return pixels, torch.from_numpy(mask)[None].float()


def _draw_apart(worker: int) -> None:
    """Let a process that decodes draw other flips than the next one does."""
    info = get_worker_info()
    if info is not None:
        cast(_Files, info.dataset).random = np.random.default_rng(info.seed)


def _forever(loader: DataLoader[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield from loader
