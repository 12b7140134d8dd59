"""A training of a fraction of a second in this process, and a callback that notes how it goes."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from segmentation.config.training import DataConfig, TrainingConfig
from segmentation.data.dataset import SplitDataset
from segmentation.data.loader import BatchLoader
from segmentation.data.loading import load_splits
from segmentation.data.oxford_pets import read_lists
from segmentation.data.splits import split
from segmentation.models.unet import UNet
from segmentation.runtime.device import choose_compute
from segmentation.training.callbacks import Callback
from segmentation.training.trainer import Trainer

QUICK = TrainingConfig(epochs=4, batch_size=4, lr=1e-2, ema=0.5, device="cpu", precision="fp32")

SMALL_DATA = DataConfig(train_images=12, val_images=5, image_size=32)

Data = dict[str, SplitDataset]


def loaded(folder: Path, **changes: object) -> Data:
    config = dataclasses.replace(SMALL_DATA, **changes)  # type: ignore[arg-type]
    lists = read_lists(folder)
    parts = split(lists["trainval"], config)
    apart = {"gate": parts.gate, "test": lists["test"]}
    return load_splits({"val": parts.val, "train": parts.train}, apart, config, lambda *_: None)


class Recorder(Callback):
    """Notes how often it is called, metrics and samples; a checkpoint remembers its steps."""

    def __init__(self) -> None:
        self.starts, self.ends, self.steps = 0, 0, 0
        self.metrics: list[Mapping[str, float]] = []
        self.samples: list[NDArray[np.float32]] = []

    def on_fit_start(self, trainer: Trainer) -> None:
        self.starts += 1

    def on_step_end(self, trainer: Trainer) -> None:
        self.steps += 1

    def on_epoch_end(self, trainer: Trainer, metrics: Mapping[str, float]) -> None:
        self.metrics.append(metrics)
        self.samples.append(trainer.validation.probabilities[:5].numpy())

    def on_fit_end(self, trainer: Trainer) -> None:
        self.ends += 1

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "picture": b"\x89PNG"}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        assert state["picture"] == b"\x89PNG"
        self.steps = state["steps"]


def quick_trainer(
    data: Data, *callbacks: Callback, network: nn.Module | None = None, **changes: object
) -> Trainer:
    """Return a trainer of a tiny network, always of the same first weights."""
    config = dataclasses.replace(QUICK, **changes)  # type: ignore[arg-type]
    torch.manual_seed(config.seed)
    network = network or UNet(width=4, depth=3)
    batches = BatchLoader(data["train"], data["val"], config)
    return Trainer(network, batches, config, choose_compute(config), callbacks=callbacks)


def figures(history: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """Return those of a training that do not depend on the clock."""
    return {name: values for name, values in history.items() if "second" not in name}
