"""Pet-from-background segmentation: data contract, U-Net, training, tracking."""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segmentation.api import (
        Prediction,
        Result,
        evaluate,
        load_model,
        predict,
        prepare,
        train,
        tune,
    )
    from segmentation.errors import ConfigError, PetsegError
    from segmentation.training.callbacks import Callback

__all__ = [
    "Callback",
    "ConfigError",
    "PetsegError",
    "Prediction",
    "Result",
    "evaluate",
    "load_model",
    "predict",
    "prepare",
    "train",
    "tune",
]

# While OpenMP's threads wait for each other they spin, and whatever else runs on the machine goes
# without. So many rounds are enough for a training alone, and few enough for two at once; see
# docs/benchmarks/results.md. Read when PyTorch is imported, here and in processes started from
# here. What a user has set stays.
if not {"OMP_WAIT_POLICY", "KMP_BLOCKTIME"} & os.environ.keys():
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("segmentation.api"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]  # what a notebook completes
