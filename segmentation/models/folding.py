"""Batch normalization folded into convolutions, for a network in eval mode."""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_Module = TypeVar("_Module", bound=nn.Module)

_TOLERANCE = 0.01  # of the largest value: a GPU rounds to 10 bits, and a wrong fold misses by far


@torch.no_grad()
def folded(network: _Module, example: Tensor) -> _Module:
    """Return a copy with each batch normalization folded into the convolution before it.

    The same function up to rounding, without the passes over memory that normalizing takes. The
    network is in eval mode. If `example`, an input on its device, shows that it runs its layers in
    another order than it names them, the copy is not folded.
    """
    short = copy.deepcopy(network)
    for parent in list(short.modules()):
        _fold_children(parent)
    pairs = zip(_outputs(network(example)), _outputs(short(example)), strict=True)
    same = all((a - b).abs().max() <= _TOLERANCE * a.abs().max() for a, b in pairs)
    return short if same else copy.deepcopy(network)


def _fold_children(parent: nn.Module) -> None:
    before, convolution = "", nn.Module()
    for name, layer in list(parent.named_children()):
        if (
            isinstance(layer, nn.BatchNorm2d)
            and isinstance(convolution, nn.Conv2d)
            and convolution.out_channels == layer.num_features
        ):
            setattr(parent, before, fuse_conv_bn_eval(convolution, layer))
            # timm has the activation within the normalization.
            setattr(parent, name, getattr(layer, "act", nn.Identity()))
        before, convolution = name, layer


def _outputs(found: Tensor | list[Tensor]) -> list[Tensor]:
    return [found] if isinstance(found, Tensor) else found
