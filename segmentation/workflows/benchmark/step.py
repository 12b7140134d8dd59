"""Images a second of the bare network, and the share of the machine's arithmetic that it uses."""

import copy
import dataclasses
import itertools
import logging

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from segmentation.config.benchmark import BenchmarkConfig
from segmentation.config.training import Config, ModelConfig, TrainingConfig
from segmentation.models.unet import build_unet, folded
from segmentation.runtime.device import Compute, choose_compute
from segmentation.tracking.summaries.benchmarks import SuiteSummary
from segmentation.workflows.benchmark.measuring import (
    Case,
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
    own: BenchmarkConfig, config: Config, compute: Compute, summary: SuiteSummary
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
    for size, width in itertools.product(own.size_list, own.widths_of("step")):
        model = dataclasses.replace(config.model, width=width)
        cases = [_cases(model, size, one) for one in computes.values()]
        rounds = interleaved(
            {name: case for some in cases for name, case in some.items()}, own.repeats
        )
        flops = dict(zip(_PASSES, count_flops(build_unet(model, 0), size), strict=True))
        for kind, precision in itertools.product(_PASSES, computes):
            speed, product = rounds[f"{kind} {precision}"], rounds[f"product {precision}"]
            share = float(np.median(flops[kind] * speed / product))
            shares[kind].append((share, f"width {width}, {size} px, {precision}"))
            name = f"{precision}_width_{width}_size_{size}"
            summary.add(f"{kind}_images_per_second/{name}", speed)
            summary.metrics[f"{kind}_share_of_matrix_product/{name}"] = share
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
            f"{kind.capitalize()} uses at most {share:.0%} of that ({network}, patch "
            f"{config.model.patch}, batches of {_IMAGES})"
            for kind, (share, network) in ((kind, max(found)) for kind, found in shares.items())
        ]
        summary.log()


def count_flops(network: nn.Module, size: int) -> tuple[float, float]:
    """Count the operations for one image of convolutions and matrix products, computing none.

    Args:
        network: maps uint8 (1, 3, size, size) to any floats.
        size: in pixels.

    Returns:
        Floating-point operations of forward and backward pass together, and of the forward pass.
    """
    hollow = copy.deepcopy(network).to("meta").train()
    image = torch.empty(1, 3, size, size, dtype=torch.uint8, device="meta")
    with FlopCounterMode(display=False) as counter:
        answer = hollow(image)
        forward = counter.get_total_flops()
        answer.float().mean().backward()
    return counter.get_total_flops(), forward


def _cases(model: ModelConfig, size: int, compute: Compute) -> dict[str, Case]:
    """Return images a second of both passes, and FLOP/s of matrix products, in one precision."""
    image, mask = random_batch(_IMAGES, size, compute.device)
    step = bare_step(build_unet(model, 0), compute)
    network = folded(build_unet(model, 0).eval()).to(compute.device)  # as `predict` folds it
    side = _SIDE if compute.device.type == "cpu" else _SIDE_ELSEWHERE
    first, second = (torch.rand(side, side).to(compute.device, compute.dtype) for _ in range(2))
    product = torch.empty_like(first)

    @torch.inference_mode()
    def infer() -> None:
        with compute.autocast():
            network(image)

    name = compute.precision
    return {
        f"training {name}": per_second(lambda: step(image, mask), _IMAGES),
        f"inference {name}": per_second(infer, _IMAGES),
        f"product {name}": per_second(lambda: torch.mm(first, second, out=product), 2.0 * side**3),
    }
