"""What the training loop costs beside the bare step."""

import dataclasses
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from segmentation.config.benchmark import BenchmarkConfig
from segmentation.config.training import Config
from segmentation.data.loader import BatchLoader
from segmentation.data.loading import Splits, load_data
from segmentation.data.sources import Source
from segmentation.models.unet import build_unet
from segmentation.runtime.device import Compute
from segmentation.tracking.summaries.benchmarks import SuiteSummary
from segmentation.training.trainer import Trainer
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
_WHOLE = "whole_training"


def measure_loop(
    own: BenchmarkConfig,
    config: Config,
    compute: Compute,
    source: Source,
    summary: SuiteSummary,
) -> None:
    """Measure every width."""
    whole = load_data(config.data, source, lambda *_: None)
    batch = min(config.training.batch_size, len(whole["train"]))
    images = min(_STEPS * batch, len(whole["train"]) // batch * batch)
    data = dataclasses.replace(config.data, train_images=images)
    few = load_data(data, source, lambda *_: None)
    lines: list[str] = []
    for width in own.widths_of("loop"):
        model = dataclasses.replace(config.model, width=width)
        rounds = _measure_width(dataclasses.replace(config, model=model), few, compute, own.repeats)
        ratio = _add_speeds(summary, f"width_{width}", rounds)
        lines.append(
            f"Width {width}: over a default training its steps, loading and augmentation included, "
            f"run at {text(ratio, '.1%')} of the speed of the bare step with the same optimizer"
        )
        _log.info(f"loop: {lines[-1]}")
        summary.lines = lines
        summary.log()


def _measure_width(
    config: Config, splits: Splits, compute: Compute, repeats: int
) -> dict[str, Rounds]:
    """Measure one width, all cases in turn.

    Returns:
        Seconds an image of `loop` and of `bare_step`, at each size of a default training and over
        all of it, such as `loop side_64` and `loop whole_training`.
    """
    training, train = config.training, splits["train"]
    images = min(training.batch_size, len(train))
    loader = BatchLoader(train, splits["val"], training)
    trainer = Trainer(build_unet(config.model, 0), loader, training, compute)
    numbers = itertools.cycle(range(1, training.epochs + 1))
    step = bare_step(config, compute)

    def an_image(work: Callable[[], object]) -> Case:
        return lambda: seconds(work) / len(train)

    def epoch(side: int) -> None:
        trainer.resolution_schedule = [(1.0, side)]  # whatever side the epoch would have
        trainer.state.epoch = next(numbers) - 1
        trainer.train_epoch()

    def bare_steps(side: int) -> None:
        batch = random_batch(images, side, compute.device)
        for _ in range(len(train) // images):
            step(*batch)

    sides = Counter(trainer.image_size(number) for number in range(1, training.epochs + 1))
    cases = {}
    for side in sorted(sides):
        cases[f"loop side_{side}"] = an_image(partial(epoch, side))
        cases[f"bare_step side_{side}"] = an_image(partial(bare_steps, side))
    rounds = interleaved(cases, repeats)
    for kind in ("loop", "bare_step"):  # each side as often as a default training has it
        each = [number * rounds[f"{kind} side_{side}"] for side, number in sides.items()]
        rounds[f"{kind} {_WHOLE}"] = np.sum(each, axis=0) / training.epochs
    return rounds


def _add_speeds(summary: SuiteSummary, width: str, rounds: Mapping[str, Rounds]) -> Rounds:
    """Add speeds and their ratios; return the loop's over that of bare steps, of all training."""
    for name in [name.removeprefix("loop ") for name in rounds if name.startswith("loop ")]:
        loop, bare = rounds[f"loop {name}"], rounds[f"bare_step {name}"]
        summary.add(f"loop_over_bare_step/{width}_{name}", bare / loop)
        for kind, rate in ((loop, "images"), (bare, "bare_images")):
            summary.figures[f"{rate}_per_second/{width}_{name}"] = (1 / float(np.median(kind)),)
    return rounds[f"bare_step {_WHOLE}"] / rounds[f"loop {_WHOLE}"]
