"""What the training loop costs beside the bare step, and what each of its parts takes."""

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from segmentation.benchmark.bare import BareStep
from segmentation.benchmark.findings import BenchContext, SuiteResult
from segmentation.benchmark.loop_findings import Tracked, Width, findings
from segmentation.benchmark.ours import checkpoint, side_shares, train_epoch
from segmentation.benchmark.pairing import Side, interleaved, seconds
from segmentation.config.training import TrainingConfig
from segmentation.data.loader import Batch, BatchLoader, to_batch
from segmentation.models.unet import build_unet
from segmentation.runtime.device import Compute
from segmentation.tracking.logging.callback import TrackingCallback
from segmentation.tracking.runs.checkpoints import keeper_of
from segmentation.tracking.runs.training_run import training_run
from segmentation.training.callbacks import Callback, EpochReport, FitResult, Samples
from segmentation.training.loop import fit
from segmentation.training.trainer import Trainer
from segmentation.utils.concurrency import batched
from segmentation.workflows.session import Splits, load_data

# An epoch's, like a default training's; every batch is full, so that each step has the bare step's
# shape.
_STEPS = 12


class PlainBatches(BatchLoader):
    """Hands out the images as they are stored: gathered in a mixed order, and nothing else."""

    def __init__(self, splits: Splits, config: TrainingConfig, compute: Compute) -> None:
        """Take `train` and `val`."""
        super().__init__(splits["train"], splits["val"], config)
        self._pixels, self._seed = splits["train"].pixels, config.seed
        self._pinned = compute.device.type == "cuda"

    def epoch(self, number: int, size: int = 0, skip: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch; the images have their own size, whatever is asked for."""
        order = np.random.default_rng([self._seed, number]).permutation(self.train_size)
        for some in batched(order[skip * self.batch_size :].tolist(), self.batch_size):
            batch = to_batch(*self._pixels.gather(some))
            yield batch.pin_memory() if self._pinned else batch


class KeptBatch(BatchLoader):
    """Hands out the same batch again and again, as if data cost nothing."""

    def __init__(self, splits: Splits, config: TrainingConfig) -> None:
        """Take `train` and `val`."""
        super().__init__(splits["train"], splits["val"], config)
        self._first: dict[int, Batch] = {}

    def epoch(self, number: int, size: int = 0, skip: int = 0) -> Iterator[Batch]:
        """Yield one batch of this size as often as an epoch has steps."""
        if size not in self._first:
            self._first[size] = next(iter(super().epoch(1, size)))
        return (self._first[size] for _ in range(skip, len(self)))


class TimedCallback:
    """Passes on what it is told, adds up how long the other takes, and counts the best epochs."""

    def __init__(self, observer: Callback, device: torch.device) -> None:
        """Wrap an observer of a training on a device."""
        self._observer, self._device = observer, device
        self.in_loop, self.at_end, self.best = 0.0, 0.0, 0

    def on_fit_start(self, samples: Samples) -> None:
        """Pass it on."""
        self.in_loop += seconds(lambda: self._observer.on_fit_start(samples), self._device)

    def on_epoch_end(self, report: EpochReport) -> None:
        """Pass it on."""
        self.best += report.is_best
        self.in_loop += seconds(lambda: self._observer.on_epoch_end(report), self._device)

    def on_fit_end(self, result: FitResult) -> None:
        """Pass it on; the loop's time ends before."""
        self.at_end += seconds(lambda: self._observer.on_fit_end(result), self._device)


def measure(bench: BenchContext) -> Iterator[SuiteResult]:
    """Track a default training, then measure every width; see `Suite`."""
    config = bench.asked.config
    whole = load_data(config.data, bench.source, lambda *_: None)
    images = min(_STEPS * config.training.batch_size, len(whole["train"]))
    images -= images % min(images, config.training.batch_size)
    data = dataclasses.replace(config.data, train_images=images)
    splits = load_data(data, bench.source, lambda *_: None)
    tracked = _track(bench, whole)
    found: list[Width] = []
    for width in bench.asked.own.widths_of("loop"):
        found.append(_measure_width(bench, splits, width))
        bench.say(f"loop: {found[-1].text()}")
        yield findings(found, tracked, bench)


def _measure_width(bench: BenchContext, splits: Splits, width: int) -> Width:
    config, compute = bench.asked.config, bench.compute
    model, training = dataclasses.replace(config.model, width=width), config.training
    train, val = splits["train"], splits["val"]
    images = min(training.batch_size, len(train))
    full = config.data.image_size

    def epochs_of(batches: BatchLoader) -> tuple[Trainer, Callable[[int], Side]]:
        """Return a trainer, and what makes of a side in pixels one that gives seconds an image."""
        one = Trainer(build_unet(model, 0), batches, training, compute)
        numbers = itertools.cycle(range(1, training.epochs + 1))

        def at(side: int) -> Side:
            return lambda: (
                seconds(lambda: train_epoch(one, next(numbers), side), compute.device) / len(train)
            )

        return one, at

    def bare(*, fused: bool) -> Callable[[int], Side]:
        step = BareStep(build_unet(model, 0), images, full, compute, fused=fused)

        def steps() -> None:
            for _ in range(len(train) // images):
                step()

        def at(side: int) -> Side:
            def measured() -> float:
                step.lay_out(images, side)
                return seconds(steps, compute.device) / len(train)

            return measured

        return at

    trainer, loop_at = epochs_of(BatchLoader(train, val, training))
    shares = side_shares(trainer)  # before a size is forced upon it
    _, plain_at = epochs_of(PlainBatches(splits, training, compute))
    _, kept_at = epochs_of(KeptBatch(splits, training))
    kinds = {
        "loop": loop_at,
        "bare": bare(fused=True),
        "kept": kept_at,
        "bare, default AdamW": bare(fused=False),
    }
    sides = {f"{kind}, {side} px": kinds[kind](side) for side in shares for kind in kinds}
    sides |= {
        f"plain, {full} px": plain_at(full),
        "validation": lambda: seconds(trainer.validate, compute.device) / len(val),
        "checkpoint": lambda: seconds(lambda: checkpoint(trainer), compute.device),
    }
    rates = interleaved(sides, bench.asked.own.repeats)
    return Width(width=width, shares=shares, rates=rates)


def _track(bench: BenchContext, splits: Splits) -> Tracked:
    """Train with all defaults in a run of its own, in the store that the user has."""
    config, device = bench.asked.config, bench.compute.device
    training, val = config.training, splits["val"]
    batches = BatchLoader(splits["train"], val, training)
    with training_run("benchmark: a tracked training", {}, parent=bench.run) as run:
        tracker = TrackingCallback(run.post, val, training.epochs)
        timed = TimedCallback(tracker, device)
        keeper = keeper_of(run, {}, tracker)
        started = time.perf_counter()
        network = build_unet(config.model, training.seed)
        result = fit(network, batches, training, bench.compute, [timed], keeper=keeper)
        background = run.post.courier.busy + run.heartbeat.busy
        bench.say(f"loop: a tracked training took {time.perf_counter() - started:.0f} s")
    return Tracked(
        width=config.model.width,
        images=len(splits["train"]),
        val_images=len(val),
        epochs=result.epochs,
        best=timed.best,
        loop=result.seconds,
        tracking=timed.in_loop,
        end=timed.at_end,
        keeping=keeper.seconds,
        background=background,
    )
