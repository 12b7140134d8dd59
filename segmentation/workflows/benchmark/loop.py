"""What the training loop costs beside the bare step, and what each of its parts takes."""

import copy
import dataclasses
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from segmentation.config.benchmark import BenchmarkConfig
from segmentation.config.training import Config
from segmentation.data.loader import Batch, BatchLoader
from segmentation.data.loading import Splits, load_data
from segmentation.data.sources import Source
from segmentation.models.unet import build_unet
from segmentation.runtime.device import Compute
from segmentation.runtime.signals import StopSignal
from segmentation.tracking.logging.callback import TrackingCallback
from segmentation.tracking.runs.checkpoints import run_checkpointer
from segmentation.tracking.runs.run import Run
from segmentation.tracking.runs.training_run import training_run
from segmentation.tracking.summaries.benchmarks import SuiteSummary
from segmentation.training.loop import fit
from segmentation.training.trainer import Trainer
from segmentation.utils.concurrency import batched
from segmentation.workflows.benchmark.measuring import (
    Case,
    Rounds,
    bare_step,
    interleaved,
    random_batch,
    seconds,
    text,
)

_log = logging.getLogger(__name__)

# Of an epoch, as many as a default training has; every batch is full, as the bare step's is.
_STEPS = 12
_BARE = ("bare_step", "bare_step_default_adamw")


def measure_loop(
    own: BenchmarkConfig,
    config: Config,
    compute: Compute,
    source: Source,
    summary: SuiteSummary,
) -> None:
    """Track a default training nested in the summary's run, then measure every width."""
    whole = load_data(config.data, source, lambda *_: None)
    batch = min(config.training.batch_size, len(whole["train"]))
    images = min(_STEPS * batch, len(whole["train"]) // batch * batch)
    data = dataclasses.replace(config.data, train_images=images)
    few = load_data(data, source, lambda *_: None)
    tracked = _track(config, whole, compute, summary.run)
    summary.metrics |= tracked
    lines: list[str] = []
    for width in own.widths_of("loop"):
        model = dataclasses.replace(config.model, width=width)
        speeds = _measure_width(dataclasses.replace(config, model=model), few, compute, own.repeats)
        speeds.add_to(summary, f"width_{width}")
        shares = speeds.parts(tracked, len(whole["train"]), len(whole["val"]))
        for part, share in shares.items():
            summary.metrics[f"share_{part}/width_{width}"] = share
        lines.append(f"Width {width}: {speeds.text()}")
        _log.info(f"loop: {lines[-1]}")
        summary.lines = [*lines, _finding(tracked)]
        summary.log()


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopSpeeds:
    """What was measured at one width.

    Attributes:
        shares: of a default training's epochs, by the side of their images in pixels, rising.
        rounds: seconds an image. At each side: `loop 64` (the training loop), `kept 64` (the loop,
            always with the same batch), `bare_step 64` (with the loop's optimizer),
            `bare_step_default_adamw 64`. `data`: gathering images as they are stored. `validation`.
            And `checkpoint`: seconds of a copy of the weights.
    """

    shares: Mapping[int, float]
    rounds: Mapping[str, Rounds]

    def mean(self, kind: str) -> Rounds:
        """Return seconds an image over a default training, each side as often as it has it."""
        each = [share * self.rounds[f"{kind} {side}"] for side, share in self.shares.items()]
        return np.asarray(np.sum(each, axis=0))

    def ratios(self, bare: str) -> dict[str, Rounds]:
        """Return the loop's speed over a bare step's: of a whole training, and at each side."""
        sides = {
            f"side_{side}": self.rounds[f"{bare} {side}"] / self.rounds[f"loop {side}"]
            for side in self.shares
        }
        return {"whole_training": self.mean(bare) / self.mean("loop"), **sides}

    def add_to(self, summary: SuiteSummary, width: str) -> None:
        """Add the figures to what the run shows."""
        for bare in _BARE:
            for where, ratio in self.ratios(bare).items():
                summary.add(f"loop_over_{bare}/{width}_{where}", ratio)
        for side in self.shares:
            for kind, name in (("loop", "images"), ("bare_step", "bare_images")):
                rate = 1 / float(np.median(self.rounds[f"{kind} {side}"]))
                summary.metrics[f"{name}_per_second/{width}_side_{side}"] = rate
        summary.add(f"checkpoint_copy_seconds/{width}", self.rounds["checkpoint"])

    def parts(self, tracked: Mapping[str, float], train: int, val: int) -> dict[str, float]:
        """Return the share of each part in a mean epoch of a default training; they add up to 1.

        Augmentation, which also makes the smaller sides, is what the loop takes longer than with
        the same batch again and again, less gathering. The rest of the loop is what it has besides
        the bare step: loss, mask, average, copies to the device.

        Args:
            tracked: figures of the tracked training, which alone tell of MLflow and checkpoints.
            train: number of its training images.
            val: number of its validation images.
        """
        bare, kept, loop = (self.mean(kind) for kind in ("bare_step", "kept", "loop"))
        data, epochs = self.rounds["data"], tracked["tracked_epochs"]
        epoch, copies = tracked["tracked_loop_seconds"] / epochs, self.rounds["checkpoint"]
        copied = np.median(copies) * tracked["tracked_epochs_that_were_best"] / epochs
        taken = {
            "bare_step": np.median(bare) * train,
            "rest_of_the_loop": np.median(kept - bare) * train,
            "data": np.median(data) * train,
            "augmentation": np.median(loop - kept - data) * train,
            "validation": np.median(self.rounds["validation"]) * val,
            "tracking": tracked["tracked_loop_share_of_tracking"] * epoch,
            "checkpoints": tracked["tracked_loop_share_of_checkpoints"] * epoch + copied,
        }
        return {part: float(took / sum(taken.values())) for part, took in taken.items()}

    def text(self) -> str:
        fused, usual = (self.ratios(bare)["whole_training"] for bare in _BARE)
        return (
            "over a default training its steps, loading and augmentation included, run at "
            f"{text(fused, '.1%')} of the speed of the bare step with the same optimizer, at "
            f"{text(usual, '.1%')} of that with AdamW as PyTorch makes it by default"
        )


def _measure_width(config: Config, splits: Splits, compute: Compute, repeats: int) -> LoopSpeeds:
    """Measure one width, all cases in turn."""
    training, train = config.training, splits["train"]
    images, kept = min(training.batch_size, len(train)), dict[int, Batch]()
    numbers = itertools.cycle(range(1, training.epochs + 1))

    class KeptBatch(BatchLoader):
        """Hands out the same batch again and again, as if data cost nothing."""

        def epoch(self, number: int, size: int = 0, skip: int = 0) -> Iterator[Batch]:
            if size not in kept:
                kept[size] = next(iter(super().epoch(1, size)))
            return itertools.repeat(kept[size], len(self))

    def trainer(loader: type[BatchLoader]) -> Trainer:
        batches = loader(train, splits["val"], training)
        return Trainer(build_unet(config.model, 0), batches, training, compute)

    def epoch(one: Trainer, side: int) -> Case:
        def work() -> None:
            one.resolution_schedule = [(1.0, side)]  # whatever side the epoch would have
            one.state.epoch = next(numbers) - 1
            one.train_epoch()

        return lambda: seconds(work) / len(train)

    def steps(step: Callable[..., None], side: int) -> Case:
        batch, calls = random_batch(images, side, compute.device), range(len(train) // images)

        def work() -> None:
            for _ in calls:
                step(*batch)

        return lambda: seconds(work) / len(train)

    def gather() -> None:
        order = np.random.default_rng(next(numbers)).permutation(len(train)).tolist()
        for some in batched(order, images):
            train.pixels.gather(some)

    loop, same = trainer(BatchLoader), trainer(KeptBatch)
    sides = Counter(loop.image_size(number) for number in range(1, training.epochs + 1))
    fused, usual = (bare_step(build_unet(config.model, 0), compute, fused=f) for f in (True, False))
    cases: dict[str, Case] = {
        "data": lambda: seconds(gather) / len(train),
        "validation": lambda: seconds(loop.validate) / len(splits["val"]),
        "checkpoint": lambda: seconds(lambda: copy.deepcopy(loop.eval_model.state_dict())),
    }
    for side in sides:
        cases |= {f"loop {side}": epoch(loop, side), f"kept {side}": epoch(same, side)}
        for name, step in zip(_BARE, (fused, usual), strict=True):
            cases[f"{name} {side}"] = steps(step, side)
    shares = {side: sides[side] / training.epochs for side in sorted(sides)}
    return LoopSpeeds(shares=shares, rounds=interleaved(cases, repeats))


class Stopwatch:
    """Passes every call on to another object and adds up the seconds that each method takes."""

    def __init__(self, other: Any) -> None:
        self.other, self.seconds = other, Counter[str]()

    def __getattr__(self, name: str) -> Any:
        def timed(*args: Any) -> None:
            self.seconds[name] += seconds(lambda: getattr(self.other, name)(*args))  # type: ignore

        return timed


def _track(config: Config, splits: Splits, compute: Compute, parent: Run) -> dict[str, float]:
    """Train with all defaults in a run of its own; return figures."""
    training, val = config.training, splits["val"]
    batches = BatchLoader(splits["train"], val, training)
    with training_run("benchmark: a tracked training", {}, parent=parent) as run:
        tracker = TrackingCallback(run, val, training.epochs)
        watch, checkpointer = Stopwatch(tracker), run_checkpointer(run, {}, StopSignal())
        network = build_unet(config.model, training.seed)
        callbacks: list[Any] = [watch, checkpointer]
        result = fit(Trainer(network, batches, training, compute, callbacks=callbacks))
        background = run.uploader.busy + run.heartbeat.busy  # seconds of a processor
    after, dice = watch.seconds.pop("on_fit_end"), result.history["val/dice"]
    best = sum(value > max(dice[:epoch], default=-1) for epoch, value in enumerate(dice))
    return {
        "tracked_loop_share_of_tracking": watch.seconds.total() / result.seconds,
        "tracked_loop_seconds": result.seconds,
        "tracked_loop_share_of_checkpoints": checkpointer.seconds / result.seconds,
        "tracked_loop_share_of_background": background / result.seconds,
        "tracked_epochs": float(result.epoch),
        "tracked_epochs_that_were_best": float(best),
        "tracking_after_loop_seconds": after,
    }


def _finding(tracked: Mapping[str, float]) -> str:
    share = {name.removeprefix("tracked_loop_share_of_"): tracked[name] for name in tracked}
    return (
        f"Of the loop's {tracked['tracked_loop_seconds']:.1f} s in a default training MLflow takes "
        f"{share['tracking']:.1%} and checkpoints {share['checkpoints']:.2%}; uploads and signs of "
        f"life take {share['background']:.2%} of a processor in the background"
    )
