"""One training as an MLflow run: its settings, its figures as they come, its end."""

import contextlib
import dataclasses
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.data.dataset_source_registry import get_dataset_source_from_json
from mlflow.data.meta_dataset import MetaDataset
from PIL import Image

from segmentation.decoding import Decoded
from segmentation.evaluation import THRESHOLD, Evaluation, Judged
from segmentation.figures import Picture, curves, gallery, panel
from segmentation.reports import EpochReport, FitResult, Samples, epoch_metrics
from segmentation.tracking.experiments import introduce_experiment

#: Of so many validation pets the picture is logged, at so many moments of a run at most.
SAMPLES, MOMENTS = 5, 10
_SAMPLE_HEIGHT, _TABLE_HEIGHT, _GALLERY_HEIGHT = 160, 96, 224
_WORST = 12


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
        mlflow.set_tags({"mlflow.runName": name, "git.dirty": _dirty()})
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
    """Writes each epoch's figures in one call, and sample pictures at some moments."""

    def __init__(self, val: Decoded, epochs: int) -> None:
        """Choose the pets to show: the first of the validation split, whose order is mixed."""
        self._val = val
        moments = min(MOMENTS, max(3, epochs // 10))
        self._moments = {round(moment) for moment in np.linspace(1, epochs, moments)}

    def on_fit_start(self, samples: Samples) -> None:
        """Log what the untrained network says: the sliders of MLflow's UI begin at step 0."""
        self._log_pictures(samples, 0)

    def on_epoch_end(self, report: EpochReport) -> None:
        """Log the epoch."""
        mlflow.log_metrics(epoch_metrics(report), step=report.epoch)
        if report.epoch in self._moments:
            self._log_pictures(report.samples, report.epoch)

    def _log_pictures(self, samples: Samples, step: int) -> None:
        for position, probability in enumerate(samples(SAMPLES)):
            picture = panel(
                self._val.images[position],
                self._val.masks[position, ..., 0] == 1,
                probability > 127,  # 128 is the first above one half
                _SAMPLE_HEIGHT,
            )
            key = f"val/{_plain(self._val.examples[position].id)}"
            # At once: MLflow's queue for pictures makes the end of a run wait for up to 2 s.
            mlflow.log_image(picture, key=key, step=step, synchronous=True)

    def on_fit_end(self, result: FitResult) -> None:
        """Note how it ended."""
        mlflow.set_tags({"fit.reason": result.reason, "fit.best_epoch": str(result.best_epoch)})


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
    mean, (low, high) = evaluation.counts.mean(), evaluation.interval()
    figures = {
        "dice": mean.dice,
        "dice_low": low,
        "dice_high": high,
        "iou": mean.iou,
        "accuracy": mean.accuracy,
        "images": len(evaluation.counts),
        "floor_dice": evaluation.counts.all_pet().mean().dice,
        "floor_accuracy": evaluation.counts.all_background().mean().accuracy,
    }
    mlflow.log_metrics({f"{evaluation.split}/{name}": value for name, value in figures.items()})


def tag(name: str, value: str) -> None:
    """Tag the current run."""
    mlflow.set_tag(name, value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawn:
    """The pictures of one judged image, see `figures.panel`.

    Attributes:
        dice: its score.
        caption: its name and scores.
        small, large: the panel in two sizes; `small` may be missing.
    """

    dice: float
    caption: str
    small: Picture | None
    large: Picture


class Gallery:
    """Collects pictures of judged images: a thumbnail of each, and the worst dozen larger."""

    def __init__(self, *, thumbnails: bool = True) -> None:
        """Hold nothing yet; without `thumbnails` the table has figures alone."""
        self._seen, self._with_thumbnails = 0, thumbnails
        self._thumbnails: list[Picture] = []
        self._worst: list[tuple[float, int, Picture, str]] = []

    def draw(self, judged: Judged) -> Drawn:
        """Draw one image; may be called in any thread."""
        pixels = judged.image, judged.mask == 1, judged.probability > THRESHOLD
        scores = judged.scores()
        return Drawn(
            dice=scores.dice,
            caption=f"{judged.example.id}   Dice {scores.dice:.3f}, IoU {scores.iou:.3f}, "
            f"accuracy {scores.accuracy:.3f}",
            small=panel(*pixels, _TABLE_HEIGHT) if self._with_thumbnails else None,
            large=panel(*pixels, _GALLERY_HEIGHT),
        )

    def add(self, drawn: Drawn) -> None:
        """Take in one image; in order."""
        self._seen += 1
        if drawn.small is not None:
            self._thumbnails.append(drawn.small)
        entry = (drawn.dice, self._seen, drawn.large, drawn.caption)
        self._worst = sorted([*self._worst, entry], key=lambda e: e[:2])[:_WORST]

    def log(self, evaluation: Evaluation) -> None:
        """Log `SPLIT/images.json`, a row an image, and `SPLIT/worst.jpg`.

        Args:
            evaluation: the scores of the images that were added, in the same order.
        """
        counts = evaluation.counts
        pictures = [mlflow.Image(one) for one in self._thumbnails]
        mlflow.log_table(
            {
                **({"photo, truth, prediction": pictures} if pictures else {}),
                "id": [example.id for example in evaluation.examples],
                "species": [example.species for example in evaluation.examples],
                "breed": [example.breed for example in evaluation.examples],
                "dice": counts.dice().round(4).tolist(),
                "iou": counts.iou().round(4).tolist(),
                "accuracy": counts.accuracy().round(4).tolist(),
                "dice_all_pet": counts.all_pet().dice().round(4).tolist(),
            },
            f"{evaluation.split}/images.json",
        )
        sheet = gallery([entry[2] for entry in self._worst], [e[3] for e in self._worst], 2)
        mlflow.log_image(Image.fromarray(sheet), f"{evaluation.split}/worst.jpg")


def log_curves(result: FitResult, floor_dice: float) -> None:
    """Log a picture of losses and scores over epochs."""
    mlflow.log_figure(curves(result.history, result.best_epoch, floor_dice), "curves.png")


def dataset(decoded: Decoded, source: Path) -> MetaDataset:
    """Describe a split to MLflow; the digest is over the files' contents, cut to its 36 chars."""
    folder = get_dataset_source_from_json(json.dumps({"uri": str(source)}), "local")
    return MetaDataset(  # type: ignore[abstract]  # complete, if not by its annotations
        folder, name=f"pets-{decoded.name}", digest=decoded.digest[:36]
    )


def _plain(name: str) -> str:
    """Replace what MLflow does not take in the key of an image."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)


def _dirty() -> str:
    """Tell whether the code differs from its commit: `true`, `false` or `unknown`."""
    here = Path(__file__).parent
    try:
        status = subprocess.run(
            ["git", "status", "--porcelain"], cwd=here, capture_output=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return "true" if status.stdout.strip() else "false"
