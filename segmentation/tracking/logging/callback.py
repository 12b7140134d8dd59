"""Tracks a training: figures of its epochs, and pictures at its end."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from segmentation.data.dataset import SplitDataset
from segmentation.data.images.examples import PET_BIT
from segmentation.evaluation.pictures import Mask, Picture, glance, legend, progress, try_draw
from segmentation.tracking.logging.run_logger import GLANCE, RunLogger, png_of
from segmentation.tracking.tags import FIRST_STEP, LAST_STEP
from segmentation.training.callbacks import Callback
from segmentation.training.trainer import Trainer

# Of so many validation pets it is kept what the network says, at so many moments of a run besides
# the first: the picture of all of them is looked at in the width of a page.
_SAMPLES, _MOMENTS = 8, 5
# So many of them are rows of the picture of all moments, each cell of so many pixels.
_ROWS, _CELL = 5, 160


class TrackingCallback(Callback):
    """Posts each epoch's figures, and at the end what some validation pets look like.

    These are the first of the validation split, whose order is mixed.
    """

    def __init__(self, run: RunLogger, val: SplitDataset, epochs: int) -> None:
        self._run, self._val, self._labels = run, val, val.examples[0].labels
        self._moments = {0, *(round(moment) for moment in np.linspace(1, epochs, _MOMENTS))}
        # What the network said of the samples, bool (K, S, S), by epoch.
        self._said: dict[int, Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"said": self._said}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._said = dict(state.get("said", {}))  # an earlier version kept pictures

    def on_fit_start(self, trainer: Trainer) -> None:
        # What a process that was stopped has posted may be lost with its disk.
        history = trainer.state.history
        for epoch, values in enumerate(zip(*history.values(), strict=True), 1):
            self._run.log_metrics(dict(zip(history, values, strict=True)), epoch)
        if not history and hasattr(trainer, "validation"):  # it does not go on
            self._keep(trainer)

    def on_epoch_end(self, trainer: Trainer, metrics: Mapping[str, float]) -> None:
        self._run.log_metrics(metrics, trainer.state.epoch)
        self._keep(trainer)

    def _keep(self, trainer: Trainer) -> None:
        """Keep what the network says now, in the place of what was said at no special moment."""
        kept = {epoch: said for epoch, said in self._said.items() if epoch in self._moments}
        said = trainer.validation.probabilities[:_SAMPLES] > 0.5
        self._said = {**kept, trainer.state.epoch: said}

    def on_fit_end(self, trainer: Trainer) -> None:
        """Note how it ended, and draw."""
        state = trainer.state
        self._run.set_tags(
            {
                "fit.reason": state.stop_reason,
                "fit.best_epoch": str(state.best_epoch),
                FIRST_STEP: f"{state.first_step:.3f}",
                LAST_STEP: f"{state.last_step:.3f}",
            }
        )
        self._run.log_image(self._progress, "val/progress.jpg")
        key, last = f"{GLANCE}/{self._labels.things}", self._said[state.epoch].numpy()
        colors, shown = legend(self._labels.noun), self._samples(len(last))
        if png := try_draw(key, lambda: png_of(glance(*shown, last, colors))):
            self._run.log_image_step(png, key)

    def _progress(self) -> Picture:
        said = {epoch: masks.numpy() for epoch, masks in self._said.items()}
        return progress(*self._samples(_ROWS), said, _CELL, legend(self._labels.noun))

    def _samples(self, most: int) -> tuple[list[str], Picture, Mask]:
        """Return the samples' names, pixels and masks."""
        names = [example.id for example in self._val.examples[:most]]
        images, flags = self._val.pixels.gather(range(len(names)))
        return names, images, flags & PET_BIT == 1
