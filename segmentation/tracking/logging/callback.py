"""Tracks the epochs of a training: figures, and sample pictures at some moments."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segmentation.data.dataset import SplitDataset
from segmentation.data.images.examples import PET_BIT
from segmentation.evaluation.figures import Picture, panel, progress
from segmentation.tracking.logging.run_logger import RunLogger, png_of
from segmentation.training.callbacks import EpochReport, FitResult, Samples, epoch_metrics

#: Of so many validation pets the picture is logged, at so many moments of a run at most.
SAMPLES, MOMENTS = 5, 10
_SAMPLE_HEIGHT = 128

_KEY = "pictures/{step}/{number}"


class TrackingCallback:
    """Posts each epoch's figures, and what some validation pets look like by then."""

    def __init__(self, run: RunLogger, val: SplitDataset, epochs: int) -> None:
        """Choose the pets to show: the first of the validation split, whose order is mixed."""
        self._run, self._val = run, val
        moments = min(MOMENTS, max(3, epochs // 10))
        #: As PNG, by epoch.
        self._seen: dict[int, list[bytes]] = {}
        self._moments = {round(moment) for moment in np.linspace(1, epochs, moments)}

    def state(self) -> dict[str, NDArray[np.uint8]]:
        """Return the pictures so far, for a checkpoint."""
        return {
            _KEY.format(step=step, number=number): np.frombuffer(png, np.uint8)
            for step, pngs in self._seen.items()
            for number, png in enumerate(pngs)
        }

    def restore(
        self, arrays: Mapping[str, NDArray[np.uint8]], history: Mapping[str, Sequence[float]]
    ) -> None:
        """Take over from a process that was stopped; what it has posted may be lost with a disk.

        Args:
            arrays: what `state` gave.
            history: each epoch's figures so far, by name.
        """
        for name, content in arrays.items():
            if name.startswith("pictures/"):
                _, step, _ = name.split("/")
                self._seen.setdefault(int(step), []).append(content.tobytes())
        names = list(history)
        for epoch, values in enumerate(zip(*history.values(), strict=True), 1):
            self._run.log_metrics(dict(zip(names, values, strict=True)), epoch)

    def on_fit_start(self, samples: Samples) -> None:
        """Post what the untrained network says: the sliders of MLflow's UI begin at step 0."""
        self._log_images(samples, 0)

    def on_epoch_end(self, report: EpochReport) -> None:
        """Post the epoch."""
        self._run.log_metrics(epoch_metrics(report), report.epoch)
        if report.epoch in self._moments or report.epoch == report.epochs:  # a budget moves the end
            self._log_images(report.samples, report.epoch)

    def _log_images(self, samples: Samples, step: int) -> None:
        pictures = []
        for position, probability in enumerate(samples(SAMPLES)):
            image, flags = self._val.pixels[position]
            said = probability > 127  # 128 is the first above one half
            pictures.append(png_of(panel(image, flags & PET_BIT == 1, said, _SAMPLE_HEIGHT)))
        self._seen[step] = pictures
        for number, picture in enumerate(pictures, 1):
            # By number, so that a saved view can name them for all runs.
            self._run.log_image_step(picture, f"val/pet {number}", step)

    def on_fit_end(self, result: FitResult) -> None:
        """Note how it ended, and put the pictures of all moments into one."""
        self._run.set_tags(
            {
                "fit.reason": result.reason,
                "fit.best_epoch": str(result.best_epoch),
                "time.first_step": f"{result.first_step:.3f}",
                "time.last_step": f"{result.last_step:.3f}",
            }
        )
        names = [example.id for example in self._val.examples[:SAMPLES]]
        seen = {step: [_pixels(png) for png in pngs] for step, pngs in self._seen.items()}
        self._run.log_image(progress(seen, names), "val/progress.jpg")


def _pixels(png: bytes) -> Picture:
    with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
        return np.asarray(picture)
