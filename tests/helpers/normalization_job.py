"""One layer's batch, by two processes and by one: what both give is written down.

python -m torch.distributed.run ... -m tests.helpers.normalization_job TYPE IMAGES IMAGES FOLDER
"""

import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from segmentation.runtime.normalization import SyncedBatchNorm2d, synchronized
from segmentation.runtime.process_group import DistributedGroup, init_process_group

_CHANNELS = 6


def main() -> None:
    kind, folder = getattr(torch, sys.argv[1]), Path(sys.argv[4])
    sizes = [int(word) for word in sys.argv[2:4]]
    generator = torch.Generator().manual_seed(3)
    shape = (sum(sizes), _CHANNELS, 5, 7)
    # A mean much larger than the spread, on which sums of squares would lose their digits.
    image = (40 + torch.randn(shape, generator=generator)).to(kind)
    image = image.contiguous(memory_format=torch.channels_last)
    gradient = torch.randn(shape, generator=generator).to(kind)
    layer = nn.BatchNorm2d(_CHANNELS)
    with torch.no_grad():
        layer.weight.copy_(torch.rand(_CHANNELS, generator=generator) + 0.5)
        layer.bias.copy_(torch.randn(_CHANNELS, generator=generator))
    with init_process_group({}) as group:
        assert isinstance(group, DistributedGroup)
        mine = synchronized(layer, group._norms)
        first = sizes[0] * group.share.rank
        here = slice(first, first + sizes[group.share.rank])
        if not sizes[group.share.rank]:  # a share must not be empty: an image that counts nowhere
            here = slice(0, 1)
            SyncedBatchNorm2d.empty = True
        own = gradient[here] * (not SyncedBatchNorm2d.empty)
        found = through(mine, image[here], own)
        if SyncedBatchNorm2d.empty:
            assert not found["image"].any()
            found = {name: one[:0] if one.ndim == 4 else one for name, one in found.items()}
        if group.is_main_process:
            whole = through(layer, image, gradient)
            found |= {f"whole {name}": one for name, one in whole.items()}
        np.savez(folder / f"{group.share.rank}.npz", **found)  # type: ignore[arg-type]
        group.barrier()


def through(layer: nn.Module, image: Tensor, gradient: Tensor) -> dict[str, NDArray[np.float32]]:
    """Return output and gradients, and the running figures afterwards."""
    image = image.detach().clone().requires_grad_()
    output = layer.train()(image)
    output.backward(gradient)
    assert image.grad is not None
    tensors = {
        "output": output,
        "image": image.grad,
        "weight": layer.get_parameter("weight").grad,
        "bias": layer.get_parameter("bias").grad,
        "mean": layer.get_buffer("running_mean"),
        "variance": layer.get_buffer("running_var"),
    }
    nothing = torch.zeros(_CHANNELS)
    return {
        name: (nothing if one is None else one).detach().float().numpy()
        for name, one in tensors.items()
    }


if __name__ == "__main__":
    main()
