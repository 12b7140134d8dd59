"""A search as MLflow runs: the parent that people open, and the trials nested in it."""

import contextlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import mlflow
import numpy as np
from mlflow.entities import LoggedModel
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from PIL import Image

from segmentation.tracking.runs import Run, describe, tracked_run

_VANISHED = "the process ended before the training did"


@contextlib.contextmanager
def parent_run(name: str, tags: Mapping[str, str], known: str | None) -> Iterator[Run]:
    """Open the run in which the trials of a study are nested, or go on in it; yield it.

    Args:
        name: of the run.
        tags: of the run, if it is a new one.
        known: the id of the study's parent run, None for a new study.
    """
    if known is None or not _exists(known):
        with tracked_run(name, tags) as run:
            yield run
        return
    opened = os.environ.pop("MLFLOW_RUN_ID", None)
    client = mlflow.MlflowClient()
    if opened not in (None, known):
        # `mlflow run` opens a run of its own each time; the study's parent stays the one it has.
        client.set_tag(opened, "mlflow.runName", f"{name} (went on)")
        client.set_tag(opened, "mlflow.parentRunId", known)
        client.set_tag(opened, "mlflow.note.content", f"Went on with the study of run `{known}`.")
    with tracked_run(name, {"failure": ""}, resume=known) as run:
        yield run


def trial_runs(study: str) -> list[MlflowRun]:
    """Return the runs of a study's trials and confirmations, in any state."""
    client = mlflow.MlflowClient()
    experiments = [e.experiment_id for e in client.search_experiments()]
    found: list[MlflowRun] = []
    token: str | None = None
    while token != "":
        page = client.search_runs(
            experiments, f"tags.study = '{study}' AND tags.stage != 'parent'", page_token=token
        )
        found += page
        token = page.token or ""
    return found


def reconcile(study: str, state_of: Callable[[str, int, str], str]) -> int:
    """End the runs whose process is gone, and those that ended before their trial did.

    Args:
        study: its name.
        state_of: returns the state of a trial, given its stage, its number and the run's id.

    Returns:
        How many were ended.
    """
    client = mlflow.MlflowClient()
    ended = 0
    for run in trial_runs(study):
        tags = run.data.tags
        state = state_of(tags["stage"], int(tags["trial"]), run.info.run_id)
        left = run.info.status == "RUNNING" and state != "running"
        early = run.info.status == "FINISHED" and state not in ("running", "complete")
        if left or early:
            client.set_tag(run.info.run_id, "failure", _VANISHED)
            client.set_terminated(run.info.run_id, "FAILED")
            ended += 1
    return ended


def log_progress(run: Run, points: Sequence[Mapping[str, float]]) -> None:
    """Log one point of each curve for each finished trial; those there already are left alone."""
    client = mlflow.MlflowClient()
    history = client.get_metric_history(run.id, "trials/finished")
    done = max((point.step for point in history), default=0)
    for step in range(done + 1, len(points) + 1):
        mlflow.log_metrics(dict(points[step - 1]), step=step)


def log_study(
    report: str,
    pictures: Mapping[str, bytes],
    html: str,
    figures: Mapping[str, float],
    files: Mapping[str, Any],
) -> None:
    """Log the report, the plots and tables into the parent run.

    Args:
        report: Markdown.
        pictures: PNG files by name.
        html: one page with all interactive plots.
        figures: metrics of the whole study.
        files: JSON files by name.
    """
    describe(report)
    mlflow.log_metrics(dict(figures))
    mlflow.log_text(report, "report.md")
    mlflow.log_text(html, "plots.html")
    for name, content in files.items():
        mlflow.log_dict(content, name)
    for name, content in pictures.items():
        picture = Image.open(io.BytesIO(content)).convert("RGB")
        mlflow.log_image(picture, f"plots/{name}.png")


def log_settings(settings: Mapping[str, Any]) -> None:
    """Log what was asked for; a study that goes on has most of it already."""
    run = mlflow.active_run()
    there = mlflow.get_run(run.info.run_id).data.params if run else {}
    mlflow.log_params({name: value for name, value in settings.items() if name not in there})


def show_picture(run: Run, key: str, picture: bytes, step: int) -> None:
    """Show a PNG on the page of the run's metrics, where a slider leads through the steps."""
    client = mlflow.MlflowClient()
    client.log_image(
        run.id, np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")), key=key, step=step
    )


def disk_use(study: str) -> int:
    """Return the bytes of all artifacts of a study's trials, their models included."""
    client = mlflow.MlflowClient()
    total = 0
    for run in trial_runs(study):
        total += _size(client, run.info.run_id, "")
    for model in _models(study):
        total += _model_size(client, model, "")
    return total


def drop_models(study: str, keep_runs: set[str]) -> int:
    """Delete the models and registered versions of all trials but some; return how many.

    A version that carries an alias, or a stage of a later promotion, stays.

    Args:
        study: its name.
        keep_runs: the ids of the runs whose models stay.
    """
    client = mlflow.MlflowClient()
    dropped = 0
    for model in _models(study):
        run_id = model.source_run_id
        if run_id is None or run_id in keep_runs:
            continue
        versions = client.search_model_versions(f"run_id='{run_id}'")
        # What is found by searching does not tell the aliases.
        whole = [client.get_model_version(v.name, v.version) for v in versions]
        if any(version.aliases for version in whole):
            continue
        for version in versions:
            client.delete_model_version(version.name, version.version)
        get_artifact_repository(model.artifact_location).delete_artifacts()  # type: ignore[no-untyped-call]
        client.delete_logged_model(model.model_id)
        dropped += 1
    return dropped


def _models(study: str) -> list[LoggedModel]:
    """Return the logged models of a study."""
    runs = trial_runs(study)
    experiments = sorted({run.info.experiment_id for run in runs})
    ids = {run.info.run_id for run in runs}
    client = mlflow.MlflowClient()
    found: list[LoggedModel] = []
    token: str | None = None
    while experiments and token != "":
        page = client.search_logged_models(experiments, page_token=token)
        found += [model for model in page if model.source_run_id in ids]
        token = page.token or ""
    return found


def _size(client: mlflow.MlflowClient, run_id: str, path: str) -> int:
    return sum(
        _size(client, run_id, item.path) if item.is_dir else item.file_size or 0
        for item in client.list_artifacts(run_id, path or None)
    )


def _model_size(client: mlflow.MlflowClient, model: LoggedModel, path: str) -> int:
    return sum(
        _model_size(client, model, item.path) if item.is_dir else item.file_size or 0
        for item in client.list_logged_model_artifacts(model.model_id, path or None)
    )


def _exists(run_id: str) -> bool:
    try:
        return bool(mlflow.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException:
        return False
