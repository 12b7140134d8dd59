"""One piece of work as an MLflow run: how it opens and ends, and what is known of it."""

import contextlib
import dataclasses
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
from mlflow.data.dataset_source_registry import get_dataset_source_from_json
from mlflow.data.meta_dataset import MetaDataset

from segmentation.data.dataset import SplitDataset
from segmentation.errors import full
from segmentation.evaluation.promotion_rule import Decision
from segmentation.evaluation.scoring import Evaluation
from segmentation.tracking.experiment_page import introduce_experiment
from segmentation.tracking.logging.run_logger import RunLogger
from segmentation.tracking.runs.heartbeat import Heartbeat, first_sign, start_heartbeat
from segmentation.tracking.store import despite_others, release_reserve
from segmentation.utils.paths import printable


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
    opened = open_run(name, tags, parent, resume, system_metrics=system_metrics)
    with ending_badly(), start_heartbeat(Heartbeat(opened.id)):
        yield opened
    mlflow.end_run(opened.status)


def open_run(
    name: str,
    tags: Mapping[str, str],
    parent: Run | None = None,
    resume: str | None = None,
    *,
    system_metrics: bool = False,
) -> Run:
    """Open a run, or attach to one, for who sees to its end; see `tracked_run`."""
    begun = {**tags, **first_sign(), "mlflow.runName": name, "git.dirty": has_uncommitted_changes()}
    if resume is not None:
        run = mlflow.start_run(run_id=resume, log_system_metrics=system_metrics, tags=begun)
    elif parent is None:
        run = mlflow.start_run(log_system_metrics=system_metrics, tags=begun)
    else:
        # What `mlflow run` opened is the parent's, though every process of its inherits the name.
        os.environ.pop("MLFLOW_RUN_ID", None)
        run = mlflow.start_run(
            log_system_metrics=system_metrics,
            tags=begun,
            experiment_id=parent.experiment,
            parent_run_id=parent.id,
            nested=True,
        )
    opened = Run(id=run.info.run_id, experiment=run.info.experiment_id)
    with ending_badly():
        if parent is None:  # the parent has done it for its trials
            introduce_experiment(opened.experiment)
    return opened


@contextlib.contextmanager
def ending_badly() -> Iterator[None]:
    """End the current run as FAILED, or as KILLED, where an error comes; it is raised again.

    Left open, MLflow would call it FINISHED when the program ends.
    """
    try:
        yield
    except BaseException as error:
        if full(error):
            release_reserve()
        with contextlib.suppress(Exception):  # the error that ended the run matters more
            mlflow.set_tag("failure", reason_of(error))
        with contextlib.suppress(Exception):
            mlflow.end_run(status_of(error))
        raise


def leave_launchers_run(known: str, name: str, text: str) -> None:
    """Point from the run that `mlflow run` opened for this process to the one that goes on.

    Args:
        known: the id of the run that goes on.
        name: of the other one, from now on.
        text: its description.
    """
    opened = os.environ.pop("MLFLOW_RUN_ID", None)
    if opened in (None, known):
        return
    client = mlflow.MlflowClient()
    client.set_tag(opened, "mlflow.runName", name)
    client.set_tag(opened, "mlflow.parentRunId", known)
    client.set_tag(opened, "mlflow.note.content", text)
    client.set_terminated(opened)


def status_of(error: BaseException) -> str:
    """Return the status with which a run ends that was ended by an error."""
    return "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"


def reason_of(error: BaseException) -> str:
    """Return the reason why a run ended, as its tag can hold it."""
    return str(error)[:4000] or type(error).__name__


def log_setup(
    post: RunLogger, settings: Mapping[str, Any], splits: Mapping[str, SplitDataset], source: Path
) -> None:
    """Log the whole configuration, the data sets with their digests, and who is in which split."""
    post.log_params(settings)
    post.log_inputs(list(_inputs(splits, source)))
    # With digests, by which other runs know these pictures under whatever name.
    post.log_dict(
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
        post.log_artifact(("\n".join(left_out) + "\n").encode(), "bad_examples.txt")


def log_inputs(splits: Mapping[str, SplitDataset], source: Path) -> None:
    """Log the data sets with their digests."""
    for one, context in _inputs(splits, source):
        despite_others(partial(mlflow.log_input, one, context=context))


def _inputs(splits: Mapping[str, SplitDataset], source: Path) -> Iterator[tuple[MetaDataset, str]]:
    """Yield each split as MLflow knows data sets, and what it is for."""
    contexts = {"train": "training", "val": "validation"}
    for name, decoded in splits.items():
        yield dataset(decoded, source), contexts.get(name, name)


def describe(markdown: str) -> None:
    """Set the run's description."""
    mlflow.set_tag("mlflow.note.content", markdown)


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
        **evaluation.baselines(),
    }


def log_decision(decision: Decision) -> None:
    """Log who became champion into the current run, and the figures that decided it, once."""
    run = mlflow.active_run()
    if run is None:
        return
    there = mlflow.get_run(run.info.run_id).data  # by a process that was killed on the way
    new = {name: value for name, value in decision.metrics.items() if name not in there.metrics}
    if new:
        mlflow.log_metrics(new)
    if "promotion" not in there.tags:
        mlflow.set_tag("promotion", decision.reason[:5000])


def dataset(decoded: SplitDataset, source: Path) -> MetaDataset:
    """Describe a split to MLflow; the digest is over the files' contents, cut to its 36 chars."""
    return described_dataset(decoded.name, decoded.digest, source)


def described_dataset(split: str, digest: str, source: Path) -> MetaDataset:
    """Describe images to MLflow that were never in memory at once."""
    folder = get_dataset_source_from_json(json.dumps({"uri": printable(str(source))}), "local")
    return MetaDataset(  # type: ignore[abstract]  # complete, if not by its annotations
        folder, name=f"pets-{split}", digest=digest[:36]
    )


def has_uncommitted_changes() -> str:
    """Tell whether the code differs from its commit: `true`, `false` or `unknown`."""
    here = Path(__file__).parent
    try:
        status = subprocess.run(
            ["git", "status", "--porcelain"], cwd=here, capture_output=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return "true" if status.stdout.strip() else "false"
