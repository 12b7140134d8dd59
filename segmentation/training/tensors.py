"""Tensors as numpy's arrays and back, to the last bit and in the same order in memory."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segmentation.errors import CheckpointError


def array(tensor: Tensor) -> NDArray[Any]:
    """Return a tensor's values; of one on the CPU they are not copied."""
    values: NDArray[Any] = tensor.detach().cpu().numpy()
    return values


def like(parameter: Tensor, values: NDArray[Any]) -> Tensor:
    """Return values as a tensor on a parameter's device, where they have its shape laid out alike.

    The fused optimiser walks through a parameter and its moments as they lie in memory.
    """
    tensor = torch.from_numpy(values)
    if tensor.shape != parameter.shape:
        return tensor.to(parameter.device)
    return torch.empty_like(parameter, requires_grad=False).copy_(tensor)


def fill(tensors: Mapping[str, Tensor], arrays: Mapping[str, NDArray[Any]], prefix: str) -> None:
    """Put arrays, whose names have a prefix more, into tensors.

    Raises:
        CheckpointError: some are missing, or have another shape.
    """
    for name, tensor in tensors.items():
        found = arrays.get(f"{prefix}{name}")
        if found is None or found.shape != tuple(tensor.shape):
            has = "none" if found is None else str(found.shape)
            raise CheckpointError(
                f"the checkpoint is of another network: of {name} it has {has}, expected "
                f"{tuple(tensor.shape)}"
            )
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(np.asarray(found)))
