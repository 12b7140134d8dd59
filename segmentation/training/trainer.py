"""The moving parts of one training: the step, the average, the schedule, validation."""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW

from segmentation.config.training import TrainingConfig
from segmentation.data.loader import Batch, BatchLoader
from segmentation.metrics.segmentation import Counts, count
from segmentation.runtime.device import Compute
from segmentation.runtime.process_group import SINGLE_PROCESS, ProcessGroup
from segmentation.training.checkpoint import Snapshot
from segmentation.training.ema import EMA
from segmentation.training.loss import SegmentationLoss
from segmentation.training.schedule import Schedule, one_cycle, resolution_at, resolution_schedule
from segmentation.training.tensors import array, fill, like
from segmentation.training.validation import ValidationTotals

_KEPT = 16  # validation images whose probabilities observers may ask for
_AVERAGED_EVERY = 8  # steps, and after an epoch: each time passes over all weights once
_OF_ADAM = ("step", "exp_avg", "exp_avg_sq")


class Trainer:
    """The moving parts of one training: model, average, optimiser, schedule."""

    def __init__(
        self,
        model: nn.Module,
        batches: BatchLoader,
        config: TrainingConfig,
        compute: Compute,
        group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        self._config, self._batches, self._compute = config, batches, compute
        self.group = group
        # Convolutions run fastest where the channels of a pixel lie side by side.
        model = model.to(compute.device).to(memory_format=torch.channels_last)
        self._model, self._network = group.wrap_model(model)
        self._average = EMA(self._model, config.ema) if config.ema else None
        self._criterion = SegmentationLoss(config.loss)
        # Fused: all weights in one pass.
        self._optimizer = AdamW(
            self._model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
        )
        self._scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.scaled)
        #: (position of the first, (N, S, S)) of the first validation images.
        self._probabilities: list[tuple[int, Tensor]] = []
        self._steps = 0
        # Of the epoch that is under way: the steps' losses and numbers of images.
        self._losses, self._sizes = torch.empty(0), list[int]()
        #: (share of training, side in pixels): up to where images have which size.
        self.resolution_schedule = [(1.0, batches.image_size)]
        if config.resizing == "progressive":
            self.resolution_schedule = resolution_schedule(
                batches.image_size, getattr(model, "stride", 1)
            )
        #: How many epochs there are to be; it may be changed between them.
        self.plan = Schedule(config.epochs, len(batches))
        self.last_lr = 0.0

    @property
    def eval_model(self) -> nn.Module:
        """The weights that are validated and kept: the average, where there is one."""
        return self._model if self._average is None else self._average.module

    def train_epoch(
        self, epoch: int, after_step: Callable[[], None] = lambda: None
    ) -> tuple[float, float]:
        """Run one epoch, or what is left of it; return the mean loss and the images per second.

        Args:
            epoch: its number, from 1.
            after_step: called after each step, when all of this may be kept.
        """
        before, started = sum(self._sizes), time.perf_counter()
        if not self._sizes:
            # In one tensor: a tiny one kept from each step would lie between large ones that are
            # gone, and keep their memory from being used again.
            self._losses = torch.empty(len(self._batches), device=self._compute.device)
        for loss, size in self.steps(epoch, skip=len(self._sizes)):
            self._losses[len(self._sizes)] = loss
            self._sizes.append(size)
            after_step()
        if self._average is not None and self._steps > self._average.steps:
            self._average.update(self._steps)
        # One transfer an epoch: a GPU is not made to wait for the CPU at each step.
        mean = float(np.average(self._losses.cpu().numpy(), weights=self._sizes))
        speed = (sum(self._sizes) - before) / (time.perf_counter() - started)
        self._sizes = []
        return mean, speed

    def steps(self, epoch: int, side: int = 0, skip: int = 0) -> Iterator[tuple[Tensor, int]]:
        """Run one epoch step by step; yield each one's loss, detached, and number of images.

        Args:
            epoch: decides draws and order, learning rate and size.
            side: of the images, in pixels, where it is not to be the epoch's own.
            skip: so many steps of it ran before.
        """
        self._model.train()
        side = side or self.image_size(epoch)
        for step, batch in enumerate(self._batches.epoch(epoch, side, skip), skip):
            self.last_lr = self._config.lr * one_cycle(self.plan.progress(epoch, step))
            images = self._batches.global_batch_size(step)
            with self.group.translate_peer_errors():
                loss = self._step(batch.to(self._compute.device), images)
            yield loss, images

    def image_size(self, epoch: int) -> int:
        """Return height and width, in pixels, of the images of an epoch.

        By where it ends: the last one is at full size, however few there are.
        """
        return resolution_at(self.resolution_schedule, self.plan.progress(epoch + 1))

    def _step(self, batch: Batch, images: int) -> Tensor:
        """Update the weights once; return the loss of the whole batch, detached.

        Args:
            batch: this process's share.
            images: how many the whole batch has.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = self.last_lr
        shards = self.group.shard.size
        counted = (
            self.group.all_reduce(batch.valid.sum(dtype=torch.float32)) if shards > 1 else None
        )
        with self._compute.autocast():
            logits = self._network(batch.image)
        loss: Any = self._criterion(
            logits,
            batch.mask,
            batch.valid,
            counted,
            images if shards > 1 else 0,
        )
        self._optimizer.zero_grad()
        self._scaler.scale(loss * shards if shards > 1 else loss).backward()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._steps += 1
        if self._average is not None and self._steps - self._average.steps == _AVERAGED_EVERY:
            self._average.update(self._steps)
        return self.group.all_reduce(loss.detach())

    @torch.inference_mode()
    def validate(self, most: int | None = None) -> tuple[float, Counts]:
        """Score the validation split at the training size.

        Args:
            most: so many batches of it; None: all.

        Returns:
            Mean loss and counts.
        """
        judged = self.eval_model.eval()
        self.group.sync_buffers(judged)
        self._probabilities = []
        tally = ValidationTotals(self._batches.val_size)
        for positions, mine in itertools.islice(self._batches.validation_share(), most):
            tally.begin(positions)
            if mine is None:
                continue
            batch = mine.to(self._compute.device)
            with self._compute.autocast():
                logits = judged(batch.image)
            logits = logits.float()
            first = positions[self.group.shard.start(len(positions))]
            tally.add(first, self._criterion.parts(logits, batch.mask, batch.valid))
            tally.count(first, count(logits > 0, batch.mask, batch.valid))
            if first < _KEPT:
                self._probabilities.append((first, torch.sigmoid(logits)[:, 0]))
        if self.group.shard.size > 1:
            tally.figures = self.group.all_reduce(torch.from_numpy(tally.figures)).numpy()
            self._gather_probabilities()
        return tally.loss(), tally.counts()

    def _gather_probabilities(self) -> None:
        """Have the first ones from all processes."""
        side = self._batches.image_size
        gathered = np.zeros((min(_KEPT, self._batches.val_size), side, side), np.float32)
        for first, some in self._probabilities:
            values = some[: _KEPT - first].cpu().numpy()
            gathered[first : first + len(values)] = values
        self._probabilities = [(0, self.group.all_reduce(torch.from_numpy(gathered)))]

    def samples(self, number: int) -> NDArray[np.uint8]:
        """Return the last probabilities of the first validation images, at most 16."""
        first = torch.cat([some for _, some in self._probabilities])[:number]
        return (first * 255).round().byte().cpu().numpy()

    def state(self) -> Snapshot:
        """Return all that changes while it trains, to be written before it trains on."""
        arrays = {f"model.{name}": array(tensor) for name, tensor in self._weights().items()}
        for number, parameter in enumerate(self._model.parameters()):
            for name, tensor in self._optimizer.state[parameter].items():
                arrays[f"optimizer.{number}.{name}"] = array(tensor)
        arrays["losses"] = array(self._losses)
        return Snapshot(
            arrays=arrays,
            metadata={
                "plan": self.plan.state(),
                "scaler": self._scaler.state_dict(),
                "sizes": list(self._sizes),
                "steps": self._steps,
                "averaged": 0 if self._average is None else self._average.steps,
                "last_lr": self.last_lr,
            },
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Become the trainer that `state` was taken of.

        Raises:
            CheckpointError: it is of another network.
        """
        arrays, facts = snapshot.arrays, snapshot.metadata
        fill(self._weights(), arrays, "model.")
        for number, parameter in enumerate(self._model.parameters()):
            self._optimizer.state[parameter] = {
                name: like(parameter, arrays[f"optimizer.{number}.{name}"])
                for name in _OF_ADAM
                if f"optimizer.{number}.{name}" in arrays  # none before the first step
            }
        self._losses = torch.from_numpy(arrays["losses"]).to(self._compute.device)
        self.plan.restore(facts["plan"])
        self._scaler.load_state_dict(facts["scaler"])
        self._sizes, self.last_lr = list(facts["sizes"]), facts["last_lr"]
        self._steps = facts["steps"]
        if self._average is not None:
            self._average.steps = facts["averaged"]

    def _weights(self) -> dict[str, Tensor]:
        """Return weights and buffers, of the model and of the average."""
        weights: dict[str, Tensor] = self._model.state_dict()
        if self._average is not None:
            self._average.module.state_dict(destination=weights, prefix="average.module.")
        return weights
