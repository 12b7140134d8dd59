"""Tracks the epochs of a training: figures, and sample pictures at some moments."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segmentation.data.dataset import SplitDataset
from segmentation.data.images.examples import PET_BIT
from segmentation.evaluation.pictures import Picture, panel, progress, try_draw
from segmentation.tracking.logging.run_logger import RunLogger, png_of
from segmentation.training.callbacks import Callback
from segmentation.training.trainer import Trainer

#: Of so many validation pets the picture is logged, at so many moments of a run at most.
SAMPLES, MOMENTS = 5, 10
_SAMPLE_HEIGHT = 128


class TrackingCallback(Callback):
    """Posts each epoch's figures, and what some validation pets look like by then.

    These are the first of the validation split, whose order is mixed.
    """

    def __init__(self, run: RunLogger, val: SplitDataset, epochs: int) -> None:
        self._run, self._val = run, val
        moments = min(MOMENTS, max(3, epochs // 10))
        #: As PNG, by epoch.
        self._seen: dict[int, list[bytes]] = {}
        self._moments = {round(moment) for moment in np.linspace(1, epochs, moments)}

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self._seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._seen = dict(state["seen"])

    def on_fit_start(self, trainer: Trainer) -> None:
        # What a process that was stopped has posted may be lost with its disk.
        history = trainer.state.history
        for epoch, values in enumerate(zip(*history.values(), strict=True), 1):
            self._run.log_metrics(dict(zip(history, values, strict=True)), epoch)
        if not self._seen:  # of the untrained network: MLflow's sliders begin at step 0
            self._log_images(trainer, 0)

    def on_epoch_end(self, trainer: Trainer, metrics: Mapping[str, float]) -> None:
        epoch = trainer.state.epoch
        self._run.log_metrics(metrics, epoch)
        # A budget moves the end.
        if epoch in self._moments or epoch == trainer.state.schedule.epochs:
            self._log_images(trainer, epoch)

    def _log_images(self, trainer: Trainer, step: int) -> None:
        samples = enumerate(trainer.validation.samples(SAMPLES))
        pictures = try_draw("val/pet", lambda: [self._panel(*sample) for sample in samples])
        if pictures:
            self._seen[step] = pictures
        for number, picture in enumerate(pictures or [], 1):
            # By number, so that a saved view can name them for all runs.
            self._run.log_image_step(picture, f"val/pet {number}", step)

    def _panel(self, position: int, probability: NDArray[np.uint8]) -> bytes:
        image, flags = self._val.pixels[position]
        said = probability > 127  # 128 is the first above one half
        return png_of(panel(image, flags & PET_BIT == 1, said, _SAMPLE_HEIGHT))

    def on_fit_end(self, trainer: Trainer) -> None:
        """Note how it ended, and put the pictures of all moments into one."""
        state = trainer.state
        self._run.set_tags(
            {
                "fit.reason": state.stop_reason,
                "fit.best_epoch": str(state.best_epoch),
                "time.first_step": f"{state.first_step:.3f}",
                "time.last_step": f"{state.last_step:.3f}",
            }
        )
        names = [example.id for example in self._val.examples[:SAMPLES]]
        seen = {step: [_pixels(png) for png in pngs] for step, pngs in self._seen.items()}
        if seen:
            self._run.log_image(lambda: progress(seen, names), "val/progress.jpg")


def _pixels(png: bytes) -> Picture:
    with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
        return np.asarray(picture)
