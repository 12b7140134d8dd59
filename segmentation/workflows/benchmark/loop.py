"""What the training loop costs beside the bare step, and what each of its parts takes."""

import dataclasses
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from segmentation.config.benchmark import BenchmarkConfig
from segmentation.config.training import Config
from segmentation.data.loader import BatchLoader
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
# Bare steps, and whether their AdamW is fused, as the loop's is.
_BARE = {"bare_step": True, "bare_step_default_adamw": False}
_WHOLE = "whole_training"


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
        rounds = _measure_width(dataclasses.replace(config, model=model), few, compute, own.repeats)
        ratios = _add_speeds(summary, f"width_{width}", rounds)
        for part, share in _shares(rounds, tracked, whole).items():
            summary.metrics[f"share_{part}/width_{width}"] = share
        lines.append(f"Width {width}: {_comparison(*ratios)}")
        _log.info(f"loop: {lines[-1]}")
        summary.lines = [*lines, _finding(tracked)]
        summary.log()


def _measure_width(
    config: Config, splits: Splits, compute: Compute, repeats: int
) -> dict[str, Rounds]:
    """Measure one width, all cases in turn.

    Returns:
        Seconds an image of `data` (gathering images as they are stored), of `validation`, and at
        each size of a default training and over all of it, such as `loop side_64` and
        `loop whole_training`: of `loop`, of its `batches` alone, and of the bare steps.
    """
    training, train = config.training, splits["train"]
    images = min(training.batch_size, len(train))
    loader = BatchLoader(train, splits["val"], training)
    trainer = Trainer(build_unet(config.model, 0), loader, training, compute)
    numbers = itertools.cycle(range(1, training.epochs + 1))

    def an_image(work: Callable[[], object], number: int = len(train)) -> Case:
        return lambda: seconds(work) / number

    def epoch(side: int) -> None:
        trainer.resolution_schedule = [(1.0, side)]  # whatever side the epoch would have
        trainer.state.epoch = next(numbers) - 1
        trainer.train_epoch()

    def prepare(side: int) -> None:
        for _ in loader.epoch(next(numbers), side):
            pass

    def steps(step: Callable[..., None], side: int) -> Callable[[], None]:
        batch, calls = random_batch(images, side, compute.device), range(len(train) // images)

        def work() -> None:
            for _ in calls:
                step(*batch)

        return work

    def gather() -> None:
        order = np.random.default_rng(next(numbers)).permutation(len(train)).tolist()
        for some in batched(order, images):
            train.pixels.gather(some)

    sides = Counter(trainer.image_size(number) for number in range(1, training.epochs + 1))
    bare = {
        name: bare_step(build_unet(config.model, 0), compute, fused=fused)
        for name, fused in _BARE.items()
    }
    cases = {"data": an_image(gather), "validation": an_image(trainer.validate, loader.val_size)}
    for side in sorted(sides):
        at = f"side_{side}"
        cases[f"loop {at}"] = an_image(partial(epoch, side))
        cases[f"batches {at}"] = an_image(partial(prepare, side))
        cases |= {f"{name} {at}": an_image(steps(step, side)) for name, step in bare.items()}
    rounds = interleaved(cases, repeats)
    for kind in ("loop", "batches", *_BARE):  # each side as often as a default training has it
        each = [number * rounds[f"{kind} side_{side}"] for side, number in sides.items()]
        rounds[f"{kind} {_WHOLE}"] = np.sum(each, axis=0) / training.epochs
    return rounds


def _add_speeds(summary: SuiteSummary, width: str, rounds: Mapping[str, Rounds]) -> list[Rounds]:
    """Add speeds and their ratios; return the loop's over those of bare steps, of all training."""
    for name in [name.removeprefix("loop ") for name in rounds if name.startswith("loop ")]:
        loop = rounds[f"loop {name}"]
        for bare in _BARE:
            summary.add(f"loop_over_{bare}/{width}_{name}", rounds[f"{bare} {name}"] / loop)
        for kind, rate in ((loop, "images"), (rounds[f"bare_step {name}"], "bare_images")):
            summary.metrics[f"{rate}_per_second/{width}_{name}"] = 1 / float(np.median(kind))
    return [rounds[f"{bare} {_WHOLE}"] / rounds[f"loop {_WHOLE}"] for bare in _BARE]


def _comparison(fused: Rounds, usual: Rounds) -> str:
    return (
        "over a default training its steps, loading and augmentation included, run at "
        f"{text(fused, '.1%')} of the speed of the bare step with the same optimizer, at "
        f"{text(usual, '.1%')} of that with AdamW as PyTorch makes it by default"
    )


def _shares(
    rounds: Mapping[str, Rounds], tracked: Mapping[str, float], splits: Splits
) -> dict[str, float]:
    """Return the share of each part in a mean epoch of a default training; they add up to 1.

    The rest of the loop is what it has besides bare steps and batches: loss, mask, average, copies
    to the device; less what a GPU computes while batches are made.
    """
    loop, batches, bare = (rounds[f"{kind} {_WHOLE}"] for kind in ("loop", "batches", "bare_step"))
    steps = {
        "bare_step": bare,
        "rest_of_the_loop": loop - batches - bare,
        "data": rounds["data"],
        "augmentation": batches - rounds["data"],
    }
    taken = {
        part: float(np.median(an_image)) * len(splits["train"]) for part, an_image in steps.items()
    }
    taken["validation"] = float(np.median(rounds["validation"])) * len(splits["val"])
    epoch = tracked["tracked_loop_seconds"] / tracked["tracked_epochs"]
    for part in ("tracking", "checkpoints"):  # only a whole training tells
        taken[part] = tracked[f"tracked_loop_share_of_{part}"] * epoch
    return {part: took / sum(taken.values()) for part, took in taken.items()}


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
        watch = Stopwatch(TrackingCallback(run, val, training.epochs))
        checkpointer = run_checkpointer(run, {}, StopSignal())
        network = build_unet(config.model, training.seed)
        callbacks: list[Any] = [watch, checkpointer]
        result = fit(Trainer(network, batches, training, compute, callbacks=callbacks))
        background = run.uploader.busy + run.heartbeat.busy  # seconds of a processor
    after = watch.seconds.pop("on_fit_end")
    return {
        "tracked_loop_share_of_tracking": watch.seconds.total() / result.seconds,
        "tracked_loop_seconds": result.seconds,
        "tracked_loop_share_of_checkpoints": checkpointer.seconds / result.seconds,
        "tracked_loop_share_of_background": background / result.seconds,
        "tracked_epochs": float(result.epoch),
        "tracking_after_loop_seconds": after,
    }


def _finding(tracked: Mapping[str, float]) -> str:
    share = {name.removeprefix("tracked_loop_share_of_"): tracked[name] for name in tracked}
    return (
        f"Of the loop's {tracked['tracked_loop_seconds']:.1f} s in a default training MLflow takes "
        f"{share['tracking']:.1%} and checkpoints {share['checkpoints']:.2%}; uploads and signs of "
        f"life take {share['background']:.2%} of a processor in the background"
    )
