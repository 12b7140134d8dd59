"""The state of every random generator of this process, as what a checkpoint can hold."""

import random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from segmentation.training.checkpoint import Snapshot


def state() -> Snapshot:
    """Return the state of the generators of Python, numpy and PyTorch, of each GPU too."""
    version, numbers, gauss = random.getstate()
    legacy: Any = np.random.get_state(legacy=True)
    kind, keys, position, has_gauss, cached = legacy
    arrays: dict[str, NDArray[Any]] = {"numpy": keys, "torch": torch.get_rng_state().numpy()}
    if torch.cuda.is_available():
        for number, one in enumerate(torch.cuda.get_rng_state_all()):
            arrays[f"cuda.{number}"] = one.numpy()
    facts = {
        "python": [version, list(numbers), gauss],
        "numpy": [kind, position, has_gauss, cached],
    }
    return Snapshot(arrays=arrays, metadata=facts)


def restore(snapshot: Snapshot) -> None:
    """Let all generators go on as when `state` was taken; GPUs that are not there are left out."""
    version, numbers, gauss = snapshot.metadata["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, position, has_gauss, cached = snapshot.metadata["numpy"]
    np.random.set_state((kind, snapshot.arrays["numpy"], position, has_gauss, cached))
    torch.set_rng_state(torch.from_numpy(snapshot.arrays["torch"]))
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            if f"cuda.{number}" in snapshot.arrays:
                one = torch.from_numpy(snapshot.arrays[f"cuda.{number}"])
                torch.cuda.set_rng_state(one, number)
