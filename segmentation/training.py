"""`fit`: the training loop. It knows neither MLflow nor Optuna nor a console."""

import copy
import itertools
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.swa_utils import AveragedModel

from segmentation.batches import Batch, Batches
from segmentation.budget import Budget
from segmentation.config import TrainingConfig
from segmentation.devices import Compute
from segmentation.errors import TrainingError
from segmentation.metrics import Counts, count, join, soft_dice_loss
from segmentation.reports import EpochReport, FitResult, Observer, StopTraining, epoch_metrics
from segmentation.schedule import Plan, one_cycle, side_at, stages

_Tensors = tuple[Tensor, ...] | list[Tensor]

_KEPT = 16  # validation images whose probabilities observers may ask for
_AVERAGED_EVERY = 8  # steps, and after an epoch: each time takes as long as the optimiser


def fit(
    model: nn.Module,
    batches: Batches,
    config: TrainingConfig,
    compute: Compute,
    observers: Sequence[Observer] = (),
    budget: Budget | None = None,
) -> FitResult:
    """Train, and leave in `model` the weights of the epoch with the best validation Dice.

    Args:
        model: maps uint8 (N, 3, S, S) to logits (N, 1, S, S); moved to the device.
        batches: the two splits.
        config: how to train.
        compute: where, and in which precision.
        observers: told of each epoch, in this order.
        budget: changes the number of epochs when its time would not be kept.

    Raises:
        TrainingError: the loss is not finite.
    """
    trainer = Trainer(model, batches, config, compute)
    plan = trainer.plan
    best_dice, best_epoch, best_weights = -math.inf, 0, model.state_dict()
    history: dict[str, list[float]] = {}
    reason, started = "", time.perf_counter()
    if budget is not None:
        budget.start()
    trainer.validate()
    for observer in observers:
        observer.on_fit_start(trainer.samples)
    epoch, first_step = 0, time.time()
    while epoch < plan.epochs and not reason:
        epoch += 1
        train_loss, speed = trainer.train(epoch)
        val_loss, counts = trainer.validate()
        for where, loss in (("training", train_loss), ("validation", val_loss)):
            _require_finite(loss, where, epoch, config)
        val = counts.mean()
        is_best = val.dice > best_dice
        if is_best:
            best_dice, best_epoch = val.dice, epoch
            best_weights = copy.deepcopy(trainer.judged.state_dict())
        if budget is not None:
            budget.correct(plan, epoch)
        report = EpochReport(
            epoch=epoch,
            epochs=plan.epochs,
            train_loss=train_loss,
            lr=trainer.last_lr,
            images_per_second=speed,
            val_loss=val_loss,
            val=val,
            val_pooled=counts.pooled(),
            is_best=is_best,
            samples=trainer.samples,
        )
        for name, value in epoch_metrics(report).items():
            history.setdefault(name, []).append(value)
        try:
            for observer in observers:
                observer.on_epoch_end(report)
        except StopTraining as stop:
            reason = str(stop)
    model.load_state_dict(best_weights)
    result = FitResult(
        best_epoch=best_epoch,
        epochs=epoch,
        reason=reason or f"all {plan.epochs} epochs ran",
        seconds=time.perf_counter() - started,
        first_step=first_step,
        last_step=time.time(),
        history=history,
    )
    for observer in observers:
        observer.on_fit_end(result)
    return result


class Trainer:
    """The moving parts of one training: model, average, optimiser, schedule."""

    def __init__(
        self, model: nn.Module, batches: Batches, config: TrainingConfig, compute: Compute
    ) -> None:
        self._config, self._batches, self._compute = config, batches, compute
        # Convolutions run fastest where the channels of a pixel lie side by side.
        self._model = model.to(compute.device).to(memory_format=torch.channels_last)
        self._moving = MovingAverage(config.ema)
        self._average = (
            AveragedModel(self._model, multi_avg_fn=self._moving, use_buffers=True)
            if config.ema
            else None
        )
        self._criterion = Criterion(config.loss)
        # Fused: all weights in one pass.
        self._optimizer = AdamW(
            self._model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
        )
        self._scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.scaled)
        self._probabilities: list[Tensor] = []
        self._steps = 0
        #: (share of training, side in pixels): up to where images have which size.
        self.stages = [(1.0, batches.image_size)]
        if config.resizing == "progressive":
            self.stages = stages(batches.image_size, getattr(model, "stride", 1))
        #: How many epochs there are to be; it may be changed between them.
        self.plan = Plan(config.epochs, len(batches))
        self.last_lr = 0.0

    @property
    def judged(self) -> nn.Module:
        """The weights that are validated and kept: the average, where there is one."""
        return self._model if self._average is None else self._average.module

    def train(self, epoch: int) -> tuple[float, float]:
        """Run one epoch; return the mean loss and the images per second."""
        started = time.perf_counter()
        # In one tensor: a tiny one kept from each step would lie between large ones that are gone,
        # and keep their memory from being used again.
        losses, sizes = torch.empty(len(self._batches), device=self._compute.device), []
        for step, (loss, size) in enumerate(self.steps(epoch)):
            losses[step] = loss
            sizes.append(size)
        self._update_average()
        # One transfer an epoch: a GPU is not made to wait for the CPU at each step.
        mean = float(np.average(losses.cpu().numpy(), weights=sizes))
        speed = sum(sizes) / (time.perf_counter() - started)
        return mean, speed

    def steps(self, epoch: int, side: int = 0) -> Iterator[tuple[Tensor, int]]:
        """Run one epoch step by step; yield each one's loss, detached, and number of images.

        Args:
            epoch: decides draws and order, learning rate and size.
            side: of the images, in pixels, where it is not to be the epoch's own.
        """
        self._model.train()
        side = side or self.side(epoch)
        for step, batch in enumerate(self._batches.epoch(epoch, side)):
            self.last_lr = self._config.lr * one_cycle(self.plan.progress(epoch, step))
            yield self._step(batch.to(self._compute.device)), len(batch.image)

    def side(self, epoch: int) -> int:
        """Return height and width, in pixels, of the images of an epoch.

        By where it ends: the last one is at full size, however few there are.
        """
        return side_at(self.stages, self.plan.progress(epoch + 1))

    def _step(self, batch: Batch) -> Tensor:
        """Update the weights once; return the loss, detached."""
        for group in self._optimizer.param_groups:
            group["lr"] = self.last_lr
        with self._compute.autocast():
            logits = self._model(batch.image)
        loss: Any = self._criterion(logits, batch.mask, batch.valid)
        self._optimizer.zero_grad()
        self._scaler.scale(loss).backward()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._steps += 1
        if self._steps - self._moving.steps == _AVERAGED_EVERY:
            self._update_average()
        return cast(Tensor, loss.detach())

    def _update_average(self) -> None:
        """Take the steps since the last time into the average."""
        if self._average is not None and self._steps > self._moving.steps:
            self._moving.until = self._steps
            self._average.update_parameters(self._model)
            self._moving.steps = self._steps

    @torch.inference_mode()
    def validate(self, most: int | None = None) -> tuple[float, Counts]:
        """Score the validation split at the training size.

        Args:
            most: so many batches of it; None: all.

        Returns:
            Mean loss and counts.
        """
        judged = self.judged.eval()
        total, parts = 0.0, []
        self._probabilities = []
        for cpu_batch in itertools.islice(self._batches.validation(), most):
            batch = cpu_batch.to(self._compute.device)
            with self._compute.autocast():
                logits = judged(batch.image)
            logits = logits.float()
            loss = self._criterion(logits, batch.mask, batch.valid)
            total += loss.item() * len(batch.image)
            parts.append(count(logits > 0, batch.mask, batch.valid))
            if sum(map(len, self._probabilities)) < _KEPT:
                self._probabilities.append(torch.sigmoid(logits))
        counts = join(parts)
        return total / len(counts), counts

    def samples(self, number: int) -> NDArray[np.uint8]:
        """Return the last probabilities of the first validation images, at most 16."""
        first = torch.cat(self._probabilities)[:number, 0]
        return (first * 255).round().byte().cpu().numpy()


class MovingAverage:
    """The update of an exponential moving average that forgets fast while it is young.

    The decay of step n is min(decay, (1 + n) / (10 + n)), as in TensorFlow's
    ExponentialMovingAverage: otherwise the random first weights stay in it for many epochs. One
    update may stand for several steps, and then decays by their power.

    Attributes:
        steps: how many the average has in it; the first update copies.
        until: how many it is to have after the next update.
    """

    def __init__(self, decay: float) -> None:
        """Begin with nothing averaged; `decay` in [0, 1) is that of a step."""
        self._decay = decay
        self.steps, self.until = 0, 0

    @torch.no_grad()
    def __call__(self, averages: _Tensors, values: _Tensors, number: Tensor | int) -> None:
        """Move averages towards values, as `AveragedModel` asks; they come grouped by type."""
        decay = min(self._decay, (1 + self.steps) / (10 + self.steps))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, values, 1 - decay ** (self.until - self.steps))
        else:  # batch normalisation's counter
            torch._foreach_copy_(averages, values)


def _require_finite(loss: float, where: str, epoch: int, config: TrainingConfig) -> None:
    if not math.isfinite(loss):
        raise TrainingError(
            f"the {where} loss became {loss} in epoch {epoch}; nothing was registered. Lower lr "
            f"(now {config.lr:g}) or say precision=fp32"
        )


class Criterion(nn.Module):
    """BCEWithLogitsLoss over the pixels that count, alone or plus one minus the soft Dice."""

    def __init__(self, loss: str) -> None:
        """Choose `bce` or `bce+dice`."""
        super().__init__()
        self._bce = nn.BCEWithLogitsLoss(reduction="none")
        self._with_dice = loss == "bce+dice"

    def forward(self, logits: Tensor, mask: Tensor, valid: Tensor) -> Tensor:
        """Return a scalar: float logits, and mask and valid in {0, 1}, all (N, 1, S, S)."""
        logits, mask, valid = logits.float(), mask.float(), valid.float()
        loss: Tensor = (self._bce(logits, mask) * valid).sum() / valid.sum().clamp(min=1)
        if self._with_dice:
            loss = loss + soft_dice_loss(logits, mask, valid)
        return loss
