"""Images a second of the bare network, and the share of the machine's arithmetic that it uses."""

import dataclasses
import itertools
import logging
from collections.abc import Callable

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from segmentation.config.benchmark import BenchmarkConfig
from segmentation.config.training import OWN_ENCODER, Config, TrainingConfig
from segmentation.data.sources import Source
from segmentation.models.folding import folded
from segmentation.models.unet import build_unet
from segmentation.runtime.device import Compute, choose_compute
from segmentation.tracking.summaries.benchmarks import SuiteSummary
from segmentation.workflows.benchmark.measuring import (
    bare_step,
    interleaved,
    per_second,
    random_batch,
    text,
)

_log = logging.getLogger(__name__)

_PASSES = ("training", "inference")
_IMAGES = TrainingConfig().batch_size
#: Sides of the matrices: large enough for a CPU or another device to reach what it can.
_SIDE, _SIDE_ELSEWHERE = 2048, 8192


def measure_step(
    own: BenchmarkConfig, config: Config, compute: Compute, _: Source, summary: SuiteSummary
) -> None:
    """Measure every size and width, in float32 and in the device's default precision."""
    # By default PyTorch cuts the factors of float32 convolutions to TF32 on a CUDA GPU, and not
    # those of products, of which convolutions could then reach more than all.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    cut = compute.device.type == "cuda" and torch.backends.cudnn.allow_tf32
    plain = choose_compute(dataclasses.replace(config.training, precision="fp32"))
    computes = {one.precision: one for one in (plain, compute)}
    precision = ", ".join([*computes, *(["fp32 computes in TF32"] if cut else [])])
    summary.run.set_tags({"precision": precision})
    products = {precision: np.empty(0) for precision in computes}
    shares: dict[str, list[tuple[float, str]]] = {kind: [] for kind in _PASSES}
    encoder = config.model.encoder
    structure = f"patch {config.model.patch}" if encoder == OWN_ENCODER else encoder
    for size, width in itertools.product(own.size_list, own.widths_of("step")):
        sized = dataclasses.replace(config, model=dataclasses.replace(config.model, width=width))
        calls = {name: _calls(sized, size, one) for name, one in computes.items()}
        rounds = interleaved(
            {
                f"{kind} {precision}": per_second(call, units)
                for precision, some in calls.items()
                for kind, (call, units) in some.items()
            },
            own.repeats,
        )
        for kind, precision in itertools.product(_PASSES, computes):
            speed, product = rounds[f"{kind} {precision}"], rounds[f"product {precision}"]
            flops = count_flops(calls[precision][kind][0]) / _IMAGES
            share = float(np.median(flops * speed / product))
            shares[kind].append((share, f"width {width}, {size} px, {precision}"))
            name = f"{precision}_width_{width}_size_{size}"
            summary.add(f"{kind}_images_per_second/{name}", speed)
            summary.figures[f"{kind}_share_of_matrix_product/{name}"] = (share,)
            _log.info(
                f"step: {kind}, width {width}, {size} px, {precision}: {text(speed)} images/s, "
                f"{share:.0%} of matrix products"
            )
        for precision in computes:
            products[precision] = np.append(products[precision], rounds[f"product {precision}"])
            summary.add(f"matrix_product_gflops/{precision}", products[precision] / 1e9)
        rates = [f"{np.median(rate) / 1e9:.0f} GFLOP/s in {n}" for n, rate in products.items()]
        summary.lines = [f"This machine multiplies matrices at {', '.join(rates)}"]
        summary.lines += [
            f"{kind.capitalize()} uses at most {share:.0%} of that ({network}, {structure}, "
            f"batches of {_IMAGES})"
            for kind, (share, network) in ((kind, max(found)) for kind, found in shares.items())
        ]
        summary.log()


def count_flops(call: Callable[[], object]) -> int:
    """Count the floating-point operations of convolutions and matrix products in a call."""
    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def _calls(
    config: Config, size: int, compute: Compute
) -> dict[str, tuple[Callable[[], object], float]]:
    """Return both passes with their images, and a matrix product with its operations."""
    image, mask = random_batch(_IMAGES, size, compute.device)
    step = bare_step(config, compute)
    network = folded(
        build_unet(config.model, 0).eval().to(compute.device), image
    )  # as `predict` does
    network = network.to(memory_format=torch.channels_last)
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
