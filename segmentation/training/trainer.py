"""The training step, and all that changes while a network is trained."""

import dataclasses
import io
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW

from segmentation.config.training import TrainingConfig
from segmentation.data.loader import Batch, BatchLoader
from segmentation.errors import CheckpointError, TrainingError
from segmentation.runtime.device import Compute
from segmentation.runtime.process_group import SINGLE_PROCESS, ProcessGroup
from segmentation.runtime.turns import Turns
from segmentation.training.callbacks import Callback
from segmentation.training.ema import EMA, changes
from segmentation.training.loss import SegmentationLoss
from segmentation.training.schedule import (
    Schedule,
    TrainingState,
    one_cycle,
    resolution_at,
    resolution_schedule,
)
from segmentation.training.validation import Validation, validate

# Steps between two updates of the moving average, besides one after an epoch's last step: each
# passes over all weights, which takes a small network as long as a good part of a step.
_EMA_INTERVAL = 8


class Trainer:
    """Trains a network, epoch by epoch; the loop over epochs is `loop.fit`.

    The model, which is moved to the device, maps uint8 (N, 3, S, S) to logits (N, 1, S, S). Of
    several processes that train together, the main one alone calls callbacks.
    """

    validation: Validation  # what the network said of the validation images last

    def __init__(
        self,
        model: nn.Module,
        batches: BatchLoader,
        config: TrainingConfig,
        compute: Compute,
        group: ProcessGroup = SINGLE_PROCESS,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.batches, self.group, self.callbacks = batches, group, callbacks
        self.state = TrainingState(Schedule(config.epochs, len(batches)))
        self._config, self._compute = config, compute
        # Several processes of one training wait for each other at every step, a GPU has its own.
        alone = compute.device.type == "cpu" and group.shard.size == 1
        self._turns = Turns(torch.get_num_threads() if alone else 0)
        # Convolutions run fastest where the channels of a pixel lie side by side.
        self._given = model.to(compute.device).to(memory_format=torch.channels_last)
        pretrained = freeze_encoder(model, config)
        self._model, self._network = group.wrap_model(self._given)
        self._ema = EMA(self._model, config.ema) if config.ema else None
        self._criterion = SegmentationLoss(config.loss, group)
        # Fused: all weights in one pass, where by default each operation passes over all of them.
        # Those of the encoder come first.
        parameters = list(self._model.parameters())
        groups: list[dict[str, Any]] = [{"params": parameters[len(pretrained) :]}]
        if pretrained and config.encoder_lr:
            groups.append({"params": parameters[: len(pretrained)], "share": config.encoder_lr})
        self._optimizer = AdamW(groups, lr=config.lr, weight_decay=config.weight_decay, fused=True)
        half = compute.precision == "fp16"  # whose small gradients would vanish
        self._scaler = torch.amp.GradScaler(compute.device.type, enabled=half)
        self._losses = torch.empty(0)  # of the steps of the epoch that is under way
        self._best: Mapping[str, Tensor] = {}  # weights
        self._counted = time.perf_counter()  # until then `state.seconds` counts
        self.resolution_schedule = [(1.0, batches.image_size)]
        if config.resizing == "progressive":
            self.resolution_schedule = resolution_schedule(
                batches.image_size, getattr(model, "stride", 1)
            )

    @property
    def eval_model(self) -> nn.Module:
        """The model that is validated and kept: the moving average, where there is one."""
        return self._model if self._ema is None else self._ema.module

    def train_epoch(self) -> dict[str, float]:
        """Train an epoch, or what is left of it; return its figures by their tracked names."""
        state, started = self.state, time.perf_counter()
        first = state.step
        if not first:
            # In one tensor: a tiny one kept from each step would lie between large ones that are
            # gone, and keep their memory from being used again.
            self._losses = torch.empty(len(self.batches), device=self._compute.device)
        for loss, _ in self.steps(state.epoch + 1, skip=first):
            self._losses[state.step] = loss
            state.step += 1
            for callback in self.callbacks:
                callback.on_step_end(self)
        # On CPUs each process normalizes its own part of a batch; what is validated and kept has
        # the running statistics of the main one.
        for model in (self._model, self.eval_model):
            self.group.sync_buffers(model)
        sizes = [self.batches.global_batch_size(step) for step in range(len(self.batches))]
        state.epoch, state.step = state.epoch + 1, 0
        return {
            # One transfer an epoch: a GPU is not made to wait for the CPU at each step.
            "train/loss": float(np.average(self._losses.cpu().numpy(), weights=sizes)),
            "train/lr": state.lr,
            "train/images_per_second": sum(sizes[first:]) / (time.perf_counter() - started),
        }

    def steps(self, epoch: int, size: int = 0, skip: int = 0) -> Iterator[tuple[Tensor, int]]:
        """Run an epoch, but its first `skip` steps; yield each one's loss and number of images.

        Images have the size that the epoch decides, unless another one is given, in pixels.
        """
        self._model.train()
        size = size or self.image_size(epoch)
        for step, batch in enumerate(self.batches.epoch(epoch, size, skip), skip):
            self.state.lr = self._config.lr * one_cycle(self.state.schedule.progress(epoch, step))
            with self.group.translate_peer_errors(), self._turns.turn():
                loss = self._step(batch.to(self._compute.device))
            self._update_ema(step)
            yield loss, self.batches.global_batch_size(step)

    def image_size(self, epoch: int) -> int:
        """Return height and width, in pixels, of the images of an epoch.

        By where it ends: the last one is at full size, however few there are.
        """
        return resolution_at(self.resolution_schedule, self.state.schedule.progress(epoch + 1))

    def _step(self, batch: Batch) -> Tensor:
        """Update the weights once; return the loss, detached."""
        for group in self._optimizer.param_groups:
            group["lr"] = self.state.lr * group.get("share", 1.0)
        with self._compute.autocast():
            logits = self._network(batch.image)
        loss: Tensor = self._criterion(logits, batch.mask, batch.valid)
        self._optimizer.zero_grad()
        scaled: Any = self._scaler.scale(loss)  # what PyTorch does not declare, mypy refuses
        scaled.backward()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return loss.detach()

    def _update_ema(self, step: int) -> None:
        due = (step + 1) % _EMA_INTERVAL == 0 or step + 1 == len(self.batches)
        if self._ema is not None and due:
            self._ema.update(self._model, step % _EMA_INTERVAL + 1)

    def validate(self, most: int | None = None) -> Validation:
        """Score the validation split, or so many batches of it, at the training size."""
        self.validation = validate(
            self.eval_model, self.batches, self._criterion, self._compute, self.group, most
        )
        return self.validation

    def record(self, metrics: Mapping[str, float]) -> None:
        """Note an epoch's metrics, and keep the weights if they are the best so far."""
        state = self.state
        for name, value in metrics.items():
            state.history.setdefault(name, []).append(value)
        if metrics["val/dice"] > state.best_dice:
            state.best_dice, state.best_epoch = metrics["val/dice"], state.epoch
            self._best = {
                name: one.detach().clone() if changes(one) else one.detach()
                for name, one in self.eval_model.state_dict(keep_vars=True).items()
            }
        state.last_step = time.time()
        self.count_time()

    def count_time(self) -> None:
        """Bring `state.seconds` up to now."""
        now = time.perf_counter()
        self.state.seconds += now - self._counted
        self._counted = now

    def load_best(self) -> None:
        """Put the weights of the best epoch into the model that was given."""
        self._given.load_state_dict(self._best)

    def state_dict(self) -> dict[str, Any]:
        """Return all that it takes to go on to the same end, to the last bit, after any step.

        That needs no more than this: an epoch's order and augmentation are drawn from the seed, its
        number and the images alone, a step draws nothing (dropout would), and tensors come back in
        the memory layout that they had.
        """
        self.count_time()
        return {
            "state": dataclasses.asdict(self.state),
            "model": self._model.state_dict(),
            "ema": self._ema.state_dict() if self._ema else None,
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "losses": self._losses,
            "best": self._best,
            "callbacks": {
                name: _loadable(name, one.state_dict()) for name, one in self._named_callbacks()
            },
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Become the trainer whose `state_dict` was saved in a checkpoint.

        Raises:
            CheckpointError: it is of another network.
        """
        try:
            self._model.load_state_dict(saved["model"])
        except RuntimeError as error:
            raise CheckpointError(
                f"{saved['path']}: is of another network than this version's; go on with the "
                "version of Petseg that wrote it, or train anew"
            ) from error
        if self._ema is not None:
            self._ema.load_state_dict(saved["ema"])
        self._optimizer.load_state_dict(saved["optimizer"])
        self._scaler.load_state_dict(saved["scaler"])
        self._losses, self._best = saved["losses"].to(self._compute.device), saved["best"]
        self.state = TrainingState.from_dict(saved["state"])
        for name, callback in self._named_callbacks():
            callback.load_state_dict(saved["callbacks"].get(name, {}))

    def _named_callbacks(self) -> Iterator[tuple[str, Callback]]:
        """Yield callbacks by the names of their classes, further ones of a class numbered."""
        seen = Counter[str]()
        for one in self.callbacks:
            seen[name := type(one).__name__] += 1
            yield f"{name} {seen[name]}" if seen[name] > 1 else name, one


def _loadable(name: str, state: dict[str, Any]) -> dict[str, Any]:
    """Return a callback's state, or raise an error where a checkpoint would not load with it."""
    file = io.BytesIO()
    try:
        torch.save(state, file)
        file.seek(0)
        torch.load(file, "cpu", weights_only=True)
    except Exception as error:  # both raise anything
        raise TrainingError(
            f"the callback {name}: its state_dict holds what no checkpoint can; expected plain "
            "types, bytes and tensors"
        ) from error
    return state


def freeze_encoder(model: nn.Module, config: TrainingConfig) -> list[nn.Parameter]:
    """Freeze an encoder that learned before, unless it is to learn on; return its weights.

    None of other models.
    """
    encoder = getattr(model, "encoder", None) if getattr(model, "pretrained", False) else None
    weights = list(encoder.parameters()) if isinstance(encoder, nn.Module) else []
    for parameter in weights:
        parameter.requires_grad_(config.encoder_lr > 0)
    return weights
