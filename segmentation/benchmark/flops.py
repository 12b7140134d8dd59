"""How many floating-point operations a network takes, counted without computing any."""

import copy
import dataclasses

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flops:
    """Operations of convolutions and matrix products, a multiplication with its addition as two.

    Attributes:
        forward: of a forward pass over one image.
        training: of that and its backward pass, as PyTorch's counter counts it.
    """

    forward: float
    training: float


def count_flops(network: nn.Module, size: int, images: int = 2) -> Flops:
    """Count for one image of `size` x `size` pixels; tensors without content go through a copy.

    Args:
        network: maps uint8 (N, 3, size, size) to any floats.
        size: in pixels.
        images: N, the batch that is counted and divided by.
    """
    hollow = copy.deepcopy(network).to("meta").train()
    image = torch.empty(images, 3, size, size, dtype=torch.uint8, device="meta")
    with FlopCounterMode(display=False) as counter:
        answer = hollow(image)
        forward = counter.get_total_flops()
        answer.float().mean().backward()
    return Flops(forward=forward / images, training=counter.get_total_flops() / images)
