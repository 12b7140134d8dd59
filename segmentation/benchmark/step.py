"""Images a second of the bare network, and the share of the machine's arithmetic that it uses."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from segmentation.benchmark.bare import BareStep, random_batch
from segmentation.benchmark.charts import Lines, lines, point
from segmentation.benchmark.findings import BenchContext, SuiteResult
from segmentation.benchmark.flops import count_flops
from segmentation.benchmark.machine import (
    float32_name,
    matrix_product,
    products_as_convolutions,
)
from segmentation.benchmark.pairing import Measurement, Side, interleaved, speed
from segmentation.config.training import ModelConfig, TrainingConfig
from segmentation.models.unet import UNet, build_unet, folded
from segmentation.runtime.device import Compute, choose_compute

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LEAST = 0.1  # seconds of each measurement, or one step where that takes longer
_KINDS = ("training", "inference")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Case:
    """What was measured of one network in one precision.

    Attributes:
        kind: `training` or `inference`.
        precision: such as `bf16`.
        size: of the images, in pixels.
        width: of the network.
        speed: images a second.
        share: of the rate at which matrices are multiplied, in [0, 1].
    """

    kind: str
    precision: str
    size: int
    width: int
    speed: Measurement
    share: Measurement

    @property
    def name(self) -> str:
        return f"{self.precision}_width_{self.width}_size_{self.size}"


def measure(bench: BenchContext) -> Iterator[SuiteResult]:
    """Measure every width, size and precision; see `Suite`."""
    own = bench.asked.own
    computes = _computes(bench)
    cases: list[_Case] = []
    rates: dict[str, list[float]] = {compute.precision: [] for compute in computes}
    for size, width in itertools.product(own.size_list, own.widths_of("step")):
        model = dataclasses.replace(bench.asked.config.model, width=width)
        found, products = _measure_network(bench, model, size, computes)
        cases += found
        for precision, product in products.items():
            rates[precision] += product.values
        for case in found:
            bench.say(
                f"step: {case.kind}, width {width}, {size} px, {case.precision}: "
                f"{case.speed.text()} images/s, {case.share.median:.0%} of matrix products"
            )
        yield _findings(
            cases, {name: Measurement(tuple(values)) for name, values in rates.items()}, bench
        )


def _computes(bench: BenchContext) -> list[Compute]:
    """Return float32, and what the device does best where that is another."""
    training = bench.asked.config.training
    plain = choose_compute(dataclasses.replace(training, precision="fp32"))
    return [plain] if bench.compute.precision == "fp32" else [plain, bench.compute]


def _measure_network(
    bench: BenchContext, model: ModelConfig, size: int, computes: list[Compute]
) -> tuple[list[_Case], dict[str, Measurement]]:
    """Measure one network; return its cases, and FLOP/s of matrix products by precision."""
    images = TrainingConfig().batch_size
    device = bench.compute.device
    flops = count_flops(build_unet(model, 0), size)
    operations = dict(zip(_KINDS, (flops.training, flops.forward), strict=True))
    sides: dict[str, Side] = {}
    for compute in computes:
        step = BareStep(build_unet(model, 0), images, size, compute, fused=True)
        answer = _Inference(build_unet(model, 0).eval(), images, size, compute)
        multiply, product = matrix_product(device, compute.dtype or torch.float32)
        name = compute.precision
        sides[f"training {name}"] = speed(step, images, device, _LEAST)
        sides[f"inference {name}"] = speed(answer, images, device, _LEAST)
        sides[f"product {name}"] = speed(multiply, product, device, _LEAST)
    with products_as_convolutions():
        found = interleaved(sides, bench.asked.own.repeats)
    cases = []
    for kind, compute in itertools.product(_KINDS, computes):
        rate = found[f"{kind} {compute.precision}"]
        reached = rate.times(operations[kind])
        cases.append(
            _Case(
                kind=kind,
                precision=compute.precision,
                size=size,
                width=model.width,
                speed=rate,
                share=reached.over(found[f"product {compute.precision}"]),
            )
        )
    return cases, {c.precision: found[f"product {c.precision}"] for c in computes}


class _Inference:
    """A forward pass over one random batch, in the precision that is measured.

    The network is folded as `predict` folds it; `predict` itself computes in float32.
    """

    def __init__(self, network: UNet, images: int, size: int, compute: Compute) -> None:
        self._network = folded(network).to(compute.device)
        self._image, _ = random_batch(images, size, compute.device)
        self._compute = compute

    @torch.inference_mode()
    def __call__(self) -> Tensor:
        with self._compute.autocast():
            answer: Tensor = self._network(self._image)
        return answer


def _findings(
    cases: list[_Case], rates: dict[str, Measurement], bench: BenchContext
) -> SuiteResult:
    metrics: dict[str, float] = {}
    for precision, rate in rates.items():
        metrics |= rate.times(1e-9).metrics(f"matrix_product_gflops/{precision}")
    for case in cases:
        metrics |= case.speed.metrics(f"{case.kind}_images_per_second/{case.name}")
        metrics[f"{case.kind}_share_of_matrix_product/{case.name}"] = case.share.median
    return SuiteResult(
        metrics=metrics,
        columns=("pass", "precision", "size", "width", "images/s", "share of matrix products"),
        rows=tuple(
            (
                c.kind,
                c.precision,
                f"{c.size}",
                f"{c.width}",
                c.speed.text(),
                f"{c.share.median:.2f}",
            )
            for c in cases
        ),
        chart=lambda: _chart(cases),
        lines=tuple(_lines(cases, rates, bench)),
        precision=", ".join(_called(precision, bench) for precision in rates),
    )


def _lines(cases: list[_Case], rates: dict[str, Measurement], bench: BenchContext) -> Iterator[str]:
    products = ", ".join(
        f"{rate.median / 1e9:.0f} GFLOP/s in {_called(precision, bench)}"
        for precision, rate in rates.items()
    )
    yield f"This machine multiplies matrices at {products}"
    for kind in _KINDS:
        best = max((c for c in cases if c.kind == kind), key=lambda case: case.share.median)
        yield (
            f"{kind.capitalize()} uses at most {best.share.median:.0%} of that (width "
            f"{best.width}, {best.size} px, {best.precision}, patch "
            f"{bench.asked.config.model.patch}, batches of {TrainingConfig().batch_size})"
        )


def _called(precision: str, bench: BenchContext) -> str:
    """Say of float32 what the device makes of it."""
    return float32_name(bench.compute.device) if precision == "fp32" else precision


def _chart(cases: list[_Case]) -> "Figure":
    titles = [f"{kind}: {what}" for what in ("images/s", "share") for kind in _KINDS]
    panels: dict[str, Lines] = {}
    for title in titles:
        kind, _, what = title.partition(": ")
        named: dict[str, list[tuple[float, float, float, float]]] = {}
        for case in (case for case in cases if case.kind == kind):
            value = case.speed if what == "images/s" else case.share
            name = f"{case.size} px, {case.precision}"
            named.setdefault(name, []).append(point(case.width, value))
        panels[title] = named
    labels = {t: "images/s" if t.endswith("images/s") else "of matrix products" for t in titles}
    return lines(panels, "width", labels, logarithmic=titles[:2], doubling=True)
