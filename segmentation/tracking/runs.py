"""One training as an MLflow run: its settings, its figures as they come, its end."""

import contextlib
import dataclasses
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.data.dataset_source_registry import get_dataset_source_from_json
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Metric
from PIL import Image

from segmentation.decision import Decision
from segmentation.decoded import Decoded
from segmentation.evaluation import Evaluation
from segmentation.figures import Picture, curves, panel, progress
from segmentation.paths import printable
from segmentation.pixels import PET_BIT
from segmentation.reports import EpochReport, FitResult, Samples, epoch_metrics
from segmentation.tracking.experiments import introduce_experiment

#: Of so many validation pets the picture is logged, at so many moments of a run at most.
SAMPLES, MOMENTS = 5, 10
_SAMPLE_HEIGHT = 128
_RHYTHM = 4.0  # seconds between two calls that write figures: each costs about as much as a step
_MANY = 900  # figures; MLflow takes 1,000 at a time


@dataclasses.dataclass
class Run:
    """A run that is open.

    Attributes:
        id: MLflow's.
        experiment: the id of its experiment.
        status: how it is to end if nothing goes wrong.
    """

    id: str
    experiment: str
    status: str = "FINISHED"


@contextlib.contextmanager
def tracked_run(
    name: str,
    tags: Mapping[str, str],
    parent: Run | None = None,
    resume: str | None = None,
    *,
    system_metrics: bool = True,
) -> Iterator[Run]:
    """Open a run, or attach to the one that `mlflow run` opened; yield it.

    It ends as its `status` says, as KILLED on Ctrl-C, or as FAILED with the reason in the tag
    `failure`: never as RUNNING while this process can still say so.

    Args:
        name: of the run.
        tags: given to it from its first moment on.
        parent: the run that it is nested in; it is then always a new one.
        resume: the id of a run to go on in.
        system_metrics: whether to watch the machine.
    """
    if resume is not None:
        run = mlflow.start_run(run_id=resume, log_system_metrics=system_metrics, tags=dict(tags))
    elif parent is None:
        run = mlflow.start_run(log_system_metrics=system_metrics, tags=dict(tags))
    else:
        # What `mlflow run` opened is the parent's, though every process of its inherits the name.
        os.environ.pop("MLFLOW_RUN_ID", None)
        run = mlflow.start_run(
            log_system_metrics=system_metrics,
            tags=dict(tags),
            experiment_id=parent.experiment,
            parent_run_id=parent.id,
            nested=True,
        )
    opened = Run(id=run.info.run_id, experiment=run.info.experiment_id)
    try:
        mlflow.set_tags({"mlflow.runName": name, "git.dirty": dirty()})
        if parent is None:  # the parent has done it for its trials
            introduce_experiment(opened.experiment)
        yield opened
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        with contextlib.suppress(Exception):  # the error that ended the run matters more
            mlflow.set_tag("failure", str(error)[:4000] or type(error).__name__)
        with contextlib.suppress(Exception):
            mlflow.end_run("KILLED" if interrupted else "FAILED")
        raise
    mlflow.end_run(opened.status)


def log_setup(settings: Mapping[str, Any], splits: Mapping[str, Decoded], source: Path) -> None:
    """Log the whole configuration, the data sets with their digests, and who is in which split."""
    mlflow.log_params(dict(settings))
    log_inputs(splits, source)
    # With digests, by which other runs know these pictures under whatever name.
    mlflow.log_dict(
        {
            name: {
                example.id: digest
                for example, digest in zip(split.examples, split.digests, strict=True)
            }
            for name, split in splits.items()
        },
        "splits.json",
    )
    left_out = [problem for split in splits.values() for problem in split.problems]
    if left_out:
        mlflow.log_text("\n".join(left_out) + "\n", "bad_examples.txt")


def log_inputs(splits: Mapping[str, Decoded], source: Path) -> None:
    """Log the data sets with their digests."""
    contexts = {"train": "training", "val": "validation"}
    for name, decoded in splits.items():
        mlflow.log_input(dataset(decoded, source), context=contexts.get(name, name))


def describe(markdown: str) -> None:
    """Set the run's description."""
    mlflow.set_tag("mlflow.note.content", markdown)


class TrackingObserver:
    """Writes the epochs' figures, some seconds' worth a call, and sample pictures at some moments.

    Who uses it calls `flush` at the end, however training ended.
    """

    def __init__(self, val: Decoded, epochs: int) -> None:
        """Choose the pets to show: the first of the validation split, whose order is mixed."""
        self._val = val
        moments = min(MOMENTS, max(3, epochs // 10))
        self._seen: dict[int, list[Picture]] = {}
        self._unwritten: list[Metric] = []
        self._written = time.monotonic()
        self._moments = {round(moment) for moment in np.linspace(1, epochs, moments)}

    def on_fit_start(self, samples: Samples) -> None:
        """Log what the untrained network says: the sliders of MLflow's UI begin at step 0."""
        self._log_pictures(samples, 0)

    def on_epoch_end(self, report: EpochReport) -> None:
        """Log the epoch."""
        now = int(time.time() * 1000)
        self._unwritten += [
            Metric(name, value, now, report.epoch) for name, value in epoch_metrics(report).items()
        ]
        if report.epoch in self._moments or report.epoch == report.epochs:  # a budget moves the end
            self._log_pictures(report.samples, report.epoch)
        if time.monotonic() - self._written > _RHYTHM or len(self._unwritten) >= _MANY:
            self.flush()

    def flush(self) -> None:
        """Write what is not written yet."""
        run = mlflow.active_run()
        if self._unwritten and run is not None:
            mlflow.MlflowClient().log_batch(run.info.run_id, metrics=self._unwritten)
        self._unwritten, self._written = [], time.monotonic()

    def _log_pictures(self, samples: Samples, step: int) -> None:
        pictures = []
        for position, probability in enumerate(samples(SAMPLES)):
            image, flags = self._val.pixels[position]
            said = probability > 127  # 128 is the first above one half
            pictures.append(panel(image, flags & PET_BIT == 1, said, _SAMPLE_HEIGHT))
        self._seen[step] = pictures
        for number, picture in enumerate(pictures, 1):
            # By number, so that a saved view can name them for all runs. At once: MLflow's queue
            # for pictures makes the end of a run wait for up to 2 s.
            mlflow.log_image(picture, key=f"val/pet {number}", step=step, synchronous=True)

    def on_fit_end(self, result: FitResult) -> None:
        """Note how it ended, and put the pictures of all moments into one."""
        mlflow.set_tags(
            {
                "fit.reason": result.reason,
                "fit.best_epoch": str(result.best_epoch),
                "time.first_step": f"{result.first_step:.3f}",
                "time.last_step": f"{result.last_step:.3f}",
            }
        )
        names = [example.id for example in self._val.examples[:SAMPLES]]
        mlflow.log_image(Image.fromarray(progress(self._seen, names)), "val/progress.jpg")


def final_metrics(evaluation: Evaluation, best_epoch: int) -> dict[str, float]:
    """Return the figures of the finished model, by the names under which they are tracked."""
    mean, pooled = evaluation.counts.mean(), evaluation.counts.pooled()
    low, high = evaluation.interval()
    return {
        "best/dice": mean.dice,
        "best/dice_low": low,
        "best/dice_high": high,
        "best/iou": mean.iou,
        "best/accuracy": mean.accuracy,
        "best/dice_pooled": pooled.dice,
        "best/images": len(evaluation.counts),
        "best/pet_share": evaluation.counts.pet_share(),
        "best/epoch": best_epoch,
        **evaluation.floors(),
    }


def log_final(evaluation: Evaluation, best_epoch: int) -> None:
    """Log the figures of a training whose model is not kept."""
    mlflow.log_metrics(final_metrics(evaluation, best_epoch))


def log_split(evaluation: Evaluation) -> None:
    """Log the figures of images that neither trained nor chose the epoch, such as the gate's."""
    mlflow.log_metrics(evaluation.figures())


def log_decision(decision: Decision) -> None:
    """Log who became champion, and the figures that decided it."""
    if decision.figures:
        mlflow.log_metrics(decision.figures)
    mlflow.set_tag("promotion", decision.reason[:5000])


def tag(name: str, value: str) -> None:
    """Tag the current run."""
    mlflow.set_tag(name, value)


def rename(name: str) -> None:
    """Give the current run another name."""
    mlflow.set_tag("mlflow.runName", name)


def log_curves(result: FitResult, floor_dice: float) -> None:
    """Log a picture of losses and scores over epochs."""
    mlflow.log_figure(curves(result.history, result.best_epoch, floor_dice), "curves.png")


def dataset(decoded: Decoded, source: Path) -> MetaDataset:
    """Describe a split to MLflow; the digest is over the files' contents, cut to its 36 chars."""
    return described_dataset(decoded.name, decoded.digest, source)


def described_dataset(split: str, digest: str, source: Path) -> MetaDataset:
    """Describe images to MLflow that were never in memory at once."""
    folder = get_dataset_source_from_json(json.dumps({"uri": printable(str(source))}), "local")
    return MetaDataset(  # type: ignore[abstract]  # complete, if not by its annotations
        folder, name=f"pets-{split}", digest=digest[:36]
    )


def dirty() -> str:
    """Tell whether the code differs from its commit: `true`, `false` or `unknown`."""
    here = Path(__file__).parent
    try:
        status = subprocess.run(
            ["git", "status", "--porcelain"], cwd=here, capture_output=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return "true" if status.stdout.strip() else "false"
