"""What `benchmark` counts and compares."""

import itertools

import torch
from torch import nn

from segmentation.workflows.benchmark.measuring import interleaved
from segmentation.workflows.benchmark.step import count_flops


def test_flops_of_a_convolution_counted_by_hand() -> None:
    convolution, image = nn.Conv2d(3, 8, 3, padding=1), torch.rand(1, 3, 16, 16)
    # 16 x 16 pixels, 8 channels out of 3 by a 3 x 3 kernel, a multiplication and an addition each.
    once = 16 * 16 * 8 * 3 * 9 * 2
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert count_flops(lambda: convolution(image)) == once
    # The gradient of the weights costs as much; that of the image is not asked for.
    assert count_flops(lambda: convolution(image).mean().backward()) == 2 * once


def test_cases_take_turns_every_second_round_backwards() -> None:
    called: list[str] = []
    clock = itertools.count()

    def case(name: str) -> float:
        called.append(name)
        return float(next(clock))

    found = interleaved({"a": lambda: case("a"), "b": lambda: case("b")}, repeats=2)
    assert called == ["a", "b", "b", "a", "a", "b"]  # the first round only warms up
    assert {name: values.tolist() for name, values in found.items()} == {"a": [3, 4], "b": [2, 5]}
