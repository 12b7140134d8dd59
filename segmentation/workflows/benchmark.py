"""What the platform costs on this machine: suites of measurements, each of them a run.

What is compared takes turns, so that a disturbance of the machine hits all of it alike.
"""

import dataclasses
import itertools
import logging
import platform
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.benchmark import Timer
from torch.utils.benchmark.utils.timer import timer
from torch.utils.flop_counter import FlopCounterMode

from segmentation.config.benchmark import BenchmarkConfig
from segmentation.config.training import OF_BENCHMARK, OWN_ENCODER, Config, TrainingConfig
from segmentation.data.loader import BatchLoader
from segmentation.data.loading import Splits, load_data
from segmentation.data.sources import Source, resolve_source
from segmentation.models.folding import folded
from segmentation.models.unet import build_unet
from segmentation.runtime.device import Compute, choose_compute
from segmentation.tracking.commands import view_run
from segmentation.tracking.project_run import open_store
from segmentation.tracking.runs.run import Run, tracked_run
from segmentation.training.trainer import Trainer, freeze_encoder
from segmentation.utils.concurrency import ignore_progress
from segmentation.utils.templates import row, rule

#: Measures once and returns a figure, such as seconds.
Case = Callable[[], float]
#: The figures of one case, a round each.
Rounds = NDArray[np.float64]

_LEAST = 0.1  # seconds of a measurement of speed
_CPUINFO = Path("/proc/cpuinfo")
_HEADS = ("figure", "median", "lowest", "highest")

_PASSES = ("training", "inference")
_IMAGES = TrainingConfig().batch_size
# Sides of the matrices: large enough for a CPU or another device to reach what it can.
_SIDE, _SIDE_ELSEWHERE = 2048, 8192
# Of an epoch, as many as a default training has; every batch is full, as the bare step's is.
_STEPS = 12
_WHOLE = "whole_training"

_log = logging.getLogger(__name__)


def run(own: BenchmarkConfig, config: Config) -> None:
    """Run the suites that were asked for; what each has measured is in its run at once.

    The training's settings are at their defaults but for data and device.
    """
    compute = choose_compute(config.training)
    open_store()
    source = resolve_source(config.data)
    _log.info(source.summary)
    tags = _machine(compute.device)
    processor, threads, torch_version, device = tags.values()
    _log.info(
        f"Machine: {processor}, {device}, {threads} threads, PyTorch {torch_version}, {compute.amp}"
    )
    tags |= {"precision": compute.precision, "data.source": source.name}
    lines: list[str] = []
    with tracked_run("benchmark", tags) as parent:
        settings = config.used(OF_BENCHMARK, data=source.name, device=device)
        parent.log_settings(settings | dataclasses.asdict(own))
        parent.log_params(config.used())  # of the trainings, by default
        for name in own.suites:
            with tracked_run(f"benchmark {name}", tags, parent) as nested:
                suite = _Suite(nested, name)
                if name == "step":
                    _measure_step(own, config, compute, suite)
                else:
                    _measure_loop(own, config, compute, source, suite)
            lines += [f"{name}: {line}" for line in suite.lines]
            parent.describe(_findings(lines))
    for line in lines:
        _log.info("Found: %s", line)
    _log.info("Look:  %s", view_run(parent.id))


def _machine(device: torch.device) -> dict[str, str]:
    """Return tags that say what computes."""
    told = _CPUINFO.read_text(errors="replace") if _CPUINFO.exists() else ""
    names = re.findall(r"^model name\s*: (.+)$", told, re.M) or [platform.processor()]
    on_gpu = device.type == "cuda"
    return {
        "processor": torch.cuda.get_device_name(device) if on_gpu else names[0],
        "threads": str(torch.get_num_threads()),
        "torch": str(torch.__version__),
        "device": device.type,
    }


@dataclasses.dataclass
class _Suite:
    """What a suite has found so far; it is added to and logged again and again."""

    run: Run
    name: str
    #: By name: one, or median, lowest and highest.
    figures: dict[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    #: The findings, a sentence each.
    lines: Sequence[str] = ()

    def add(self, name: str, rounds: Rounds) -> None:
        """Add the median under `name`, lowest and highest under that with `_low` and `_high`."""
        self.figures[name] = float(np.median(rounds)), float(rounds.min()), float(rounds.max())

    def log(self) -> None:
        """Log all of it, so that a suite that is interrupted keeps what it has measured."""
        metrics: dict[str, float] = {}
        for name, values in self.figures.items():
            metrics |= zip((name, f"{name}_low", f"{name}_high"), values, strict=False)
        self.run.log_metrics(metrics)
        table = [(name, *map("{:.4g}".format, values)) for name, values in self.figures.items()]
        lines = [",".join(cells) for cells in (_HEADS, *table)]
        self.run.log_text("\n".join(lines) + "\n", f"{self.name}.csv")
        self.run.describe(_findings(self.lines, [row(_HEADS), rule(len(_HEADS)), *map(row, table)]))


def _findings(lines: Sequence[str], table: Sequence[str] = ()) -> str:
    return "\n".join([*(f"- {line}" for line in lines), "", *table])


def _measure_step(own: BenchmarkConfig, config: Config, compute: Compute, suite: _Suite) -> None:
    """Measure images a second of the bare network, and its share of the machine's arithmetic.

    At every size and width, in float32 and in the device's default precision.
    """
    # By default PyTorch cuts the factors of float32 convolutions to TF32 on a CUDA GPU, and not
    # those of products, of which convolutions could then reach more than all.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    cut = compute.device.type == "cuda" and torch.backends.cudnn.allow_tf32
    plain = choose_compute(dataclasses.replace(config.training, precision="fp32"))
    computes = {one.precision: one for one in (plain, compute)}
    precision = ", ".join([*computes, *(["fp32 computes in TF32"] if cut else [])])
    suite.run.set_tags({"precision": precision})
    products = {precision: np.empty(0) for precision in computes}
    shares: dict[str, list[tuple[float, str]]] = {kind: [] for kind in _PASSES}
    encoder = config.model.encoder
    structure = f"patch {config.model.patch}" if encoder == OWN_ENCODER else encoder
    for size, width in itertools.product(own.size_list, own.widths_of("step")):
        sized = dataclasses.replace(config, model=dataclasses.replace(config.model, width=width))
        calls = {name: _calls(sized, size, one) for name, one in computes.items()}
        rounds = interleaved(
            {
                f"{kind} {precision}": _per_second(call, units)
                for precision, some in calls.items()
                for kind, (call, units) in some.items()
            },
            own.repeats,
        )
        for kind, precision in itertools.product(_PASSES, computes):
            speed, product = rounds[f"{kind} {precision}"], rounds[f"product {precision}"]
            flops = _count_flops(calls[precision][kind][0]) / _IMAGES
            share = float(np.median(flops * speed / product))
            shares[kind].append((share, f"width {width}, {size} px, {precision}"))
            name = f"{precision}_width_{width}_size_{size}"
            suite.add(f"{kind}_images_per_second/{name}", speed)
            suite.figures[f"{kind}_share_of_matrix_product/{name}"] = (share,)
            _log.info(
                f"step: {kind}, width {width}, {size} px, {precision}: {text(speed)} images/s, "
                f"{share:.0%} of matrix products"
            )
        for precision in computes:
            products[precision] = np.append(products[precision], rounds[f"product {precision}"])
            suite.add(f"matrix_product_gflops/{precision}", products[precision] / 1e9)
        rates = [f"{np.median(rate) / 1e9:.0f} GFLOP/s in {n}" for n, rate in products.items()]
        suite.lines = [f"This machine multiplies matrices at {', '.join(rates)}"]
        suite.lines += [
            f"{kind.capitalize()} uses at most {share:.0%} of that ({network}, {structure}, "
            f"batches of {_IMAGES})"
            for kind, (share, network) in ((kind, max(found)) for kind, found in shares.items())
        ]
        suite.log()


def _count_flops(call: Callable[[], object]) -> int:
    """Count the floating-point operations of convolutions and matrix products in a call."""
    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def _calls(
    config: Config, size: int, compute: Compute
) -> dict[str, tuple[Callable[[], object], float]]:
    """Return both passes with their images, and a matrix product with its operations."""
    image, mask = random_batch(_IMAGES, size, compute.device)
    step = _bare_step(config, compute)
    network = build_unet(config.model, 0).eval().to(compute.device)
    network = folded(network, image).to(memory_format=torch.channels_last)  # as `predict` does
    side = _SIDE if compute.device.type == "cpu" else _SIDE_ELSEWHERE
    first, second = (torch.rand(side, side).to(compute.device, compute.dtype) for _ in range(2))
    product = torch.empty_like(first)

    @torch.inference_mode()
    def infer() -> None:
        with compute.autocast():
            network(image)

    return {
        "training": (lambda: step(image, mask), _IMAGES),
        "inference": (infer, _IMAGES),
        "product": (lambda: torch.mm(first, second, out=product), 2.0 * side**3),
    }


def _measure_loop(
    own: BenchmarkConfig, config: Config, compute: Compute, source: Source, suite: _Suite
) -> None:
    """Measure what the training loop costs beside the bare step, at every width."""
    whole = load_data(config.data, source, ignore_progress)
    batch = min(config.training.batch_size, len(whole["train"]))
    images = min(_STEPS * batch, len(whole["train"]) // batch * batch)
    data = dataclasses.replace(config.data, train_images=images)
    few = load_data(data, source, ignore_progress)
    lines: list[str] = []
    for width in own.widths_of("loop"):
        model = dataclasses.replace(config.model, width=width)
        rounds = _measure_width(dataclasses.replace(config, model=model), few, compute, own.repeats)
        ratio = _add_speeds(suite, f"width_{width}", rounds)
        lines.append(
            f"Width {width}: over a default training its steps, loading and augmentation included, "
            f"run at {text(ratio, '.1%')} of the speed of the bare step with the same optimizer"
        )
        _log.info(f"loop: {lines[-1]}")
        suite.lines = lines
        suite.log()


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
    step = _bare_step(config, compute)

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


def _add_speeds(suite: _Suite, width: str, rounds: Mapping[str, Rounds]) -> Rounds:
    """Add speeds and their ratios; return the loop's over that of bare steps, of all training."""
    for name in [name.removeprefix("loop ") for name in rounds if name.startswith("loop ")]:
        loop, bare = rounds[f"loop {name}"], rounds[f"bare_step {name}"]
        suite.add(f"loop_over_bare_step/{width}_{name}", bare / loop)
        for kind, rate in ((loop, "images"), (bare, "bare_images")):
            suite.figures[f"{rate}_per_second/{width}_{name}"] = (1 / float(np.median(kind)),)
    return rounds[f"bare_step {_WHOLE}"] / rounds[f"loop {_WHOLE}"]


def interleaved(cases: Mapping[str, Case], repeats: int) -> dict[str, Rounds]:
    """Measure each case in turn, `repeats` times after a round that only warms up.

    Every second round runs backwards: a machine that grows slower or faster favors no case.
    """
    found: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(repeats + 1):
        for name in list(cases)[:: -1 if number % 2 else 1]:
            found[name].append(cases[name]())
    return {name: np.array(values[1:]) for name, values in found.items()}


def seconds(work: Callable[[], object]) -> float:
    """Return how long one call takes, with all that it gives a GPU to do."""
    started = timer()  # waits for the GPU
    work()
    return float(timer() - started)


def _per_second(work: Callable[[], object], units: float) -> Case:
    """Return a case that tells how many units, such as images, repeated calls do a second."""
    repeated = Timer("work()", globals={"work": work}, num_threads=torch.get_num_threads())
    return lambda: float(units / repeated.blocked_autorange(min_run_time=_LEAST).median)


def text(rounds: Rounds, form: str = ".1f") -> str:
    """Say median, lowest and highest."""
    return f"{np.median(rounds):{form}} ({rounds.min():{form}} to {rounds.max():{form}})"


def random_batch(images: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return uint8 (N, 3, S, S), channels last, and a float mask (N, 1, S, S) in {0, 1}."""
    image = torch.randint(0, 256, (images, 3, size, size), dtype=torch.uint8)
    mask = (torch.rand(images, 1, size, size) < 0.4).float()
    return image.to(device).contiguous(memory_format=torch.channels_last), mask.to(device)


def _bare_step(config: Config, compute: Compute) -> Callable[[Tensor, Tensor], None]:
    """Return a step with nothing around it: forward, BCEWithLogitsLoss, backward, fused AdamW.

    It takes uint8 (N, 3, S, S) and masks (N, 1, S, S), and trains what a training would.
    """
    network = build_unet(config.model, 0)
    freeze_encoder(network, config.training)
    network = network.to(compute.device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    criterion = nn.BCEWithLogitsLoss()

    def step(image: Tensor, mask: Tensor) -> None:
        with compute.autocast():
            logits = network(image)
        loss = criterion(logits.float(), mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step
