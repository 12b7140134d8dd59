"""What `benchmark` counts and compares."""

import itertools

import torch
from torch import nn

from segmentation.workflows.benchmark.measuring import interleaved
from segmentation.workflows.benchmark.step import count_flops


class OneConvolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.convolution(image.float())
        return answer


def test_flops_of_a_convolution_counted_by_hand() -> None:
    both, forward = count_flops(OneConvolution(), 16)
    # 16 x 16 pixels, 8 channels out of 3 by a 3 x 3 kernel, a multiplication and an addition each.
    assert forward == 16 * 16 * 8 * 3 * 9 * 2
    # The gradient of the weights costs as much; that of the image is not asked for.
    assert both == 2 * forward


def test_cases_take_turns_every_second_round_backwards() -> None:
    called: list[str] = []
    clock = itertools.count()

    def case(name: str) -> float:
        called.append(name)
        return float(next(clock))

    found = interleaved({"a": lambda: case("a"), "b": lambda: case("b")}, repeats=2)
    assert called == ["a", "b", "b", "a", "a", "b"]  # the first round only warms up
    assert {name: values.tolist() for name, values in found.items()} == {"a": [3, 4], "b": [2, 5]}
