"""A search as MLflow runs: the parent that people open, and the trials nested in it."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import LoggedModel, LoggedModelOutput
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException

from segmentation.data.dataset import SplitDataset
from segmentation.errors import TrackingError
from segmentation.tracking.artifacts import discard, size_at, versions_of
from segmentation.tracking.runs.inputs import log_datasets
from segmentation.tracking.runs.run import Run, leave_launchers_run, tracked_run
from segmentation.tracking.store import paginate

#: The stage of the run in which those of the trials are nested.
PARENT = "parent"

_VANISHED = "the process ended before the training did"


@contextlib.contextmanager
def parent_run(name: str, tags: Mapping[str, str], study: str, known: str | None) -> Iterator[Run]:
    """Open the run in which the trials of a study are nested, or go on in it; yield it.

    Args:
        name: of the run.
        tags: of the run, if it is a new one.
        study: the study's id.
        known: the id of the study's parent run, None for a new study.

    Raises:
        TrackingError: the run is not in this tracking store.
    """
    client = mlflow.MlflowClient()
    if known is None:  # perhaps a command was killed before it could say which it is
        left = [run for run in runs_of(study) if run.data.tags["stage"] == PARENT]
        known = left[0].info.run_id if left else None
    elif not _exists(known):
        raise TrackingError(
            f"the runs of {name} are not in the tracking store {mlflow.get_tracking_uri()} (its "
            f"own run is {known}); set MLFLOW_TRACKING_URI to that of the first command, or give "
            "another `study`"
        )
    if known is None:
        tags = {**tags, "study.id": study, "stage": PARENT}
        # The machine is watched by the trials' runs.
        with tracked_run(name, tags, system_metrics=False) as run:
            yield run
        return
    # `mlflow run` opens a run of its own each time; the study's parent stays the one it has.
    leave_launchers_run(known, f"{name} (went on)", f"Went on with the study of run `{known}`.")
    if "failure" in client.get_run(known).data.tags:
        client.delete_tag(known, "failure")
    with tracked_run(name, tags, resume=known, system_metrics=False) as run:
        yield run


def runs_of(study: str) -> list[MlflowRun]:
    """Return all runs of a study, given its id, in any state."""
    client = mlflow.MlflowClient()
    experiments = [e.experiment_id for e in client.search_experiments()]
    wanted = f"tags.`study.id` = '{study}'"
    return list(paginate(lambda page: client.search_runs(experiments, wanted, page_token=page)))


def trial_runs(study: str) -> list[MlflowRun]:
    """Return the runs of a study's trials and confirmations, in any state."""
    return [run for run in runs_of(study) if run.data.tags["stage"] != PARENT]


def reconcile(study: str, states: Callable[[], Callable[[str, int, str], str]]) -> int:
    """End the runs whose process is gone, and those that say otherwise than their trial.

    Args:
        study: its id.
        states: returns a function that tells the present state of a trial, given its stage, its
            number and the run's id.

    Returns:
        How many were ended.
    """
    client = mlflow.MlflowClient()
    suspects = [
        run
        for run in trial_runs(study)
        if run.info.status in ("RUNNING", "FINISHED") or "pruned" in run.data.tags
    ]
    if not suspects:
        return 0
    state_of, ended = states(), 0
    for suspect in suspects:
        tags, run_id = suspect.data.tags, suspect.info.run_id
        state = state_of(tags["stage"], int(tags["trial"]), run_id)
        status = client.get_run(run_id).info.status  # it may have ended since
        left = status == "RUNNING" and state != "running"
        early = status == "FINISHED" and state not in ("running", "complete")
        untold = status == "KILLED" and "pruned" in tags and state not in ("running", "pruned")
        if left or early or untold:
            if "pruned" in tags:
                client.delete_tag(run_id, "pruned")
            client.set_tag(run_id, "failure", _VANISHED)
            client.set_terminated(run_id, "FAILED")
            ended += 1
    return ended


def log_progress(run: Run, points: Sequence[Mapping[str, float]]) -> None:
    """Log one point of each curve for each finished trial; those there already are left alone."""
    client = mlflow.MlflowClient()
    history = client.get_metric_history(run.id, "trials/epochs")
    done = max((point.step for point in history), default=0)
    for step in range(done + 1, len(points) + 1):
        run.log_metrics(points[step - 1], step)


def log_study(
    run: Run,
    report: str,
    pictures: Mapping[str, bytes],
    html: str,
    figures: Mapping[str, float],
    files: Mapping[str, Any],
) -> None:
    """Log the report, the plots and tables into the parent run.

    Args:
        run: of the parent.
        report: Markdown.
        pictures: PNG files by name.
        html: one page with all interactive plots.
        figures: metrics of the whole study.
        files: JSON files by name.
    """
    run.describe(report)
    run.log_metrics(figures)
    run.log_text(report, "report.md")
    run.log_text(html, "plots.html")
    for name, content in files.items():
        run.log_dict(content, name)
    for name, content in pictures.items():
        run.log_artifact(content, f"plots/{name}.png")


def log_settings(
    run: Run, settings: Mapping[str, Any], splits: Mapping[str, SplitDataset], source: Path
) -> None:
    """Log what was asked for and the data; a study that goes on has most of it already."""
    there = mlflow.get_run(run.id)
    known = there.data.params
    run.log_params({name: value for name, value in settings.items() if name not in known})
    if not (there.inputs and there.inputs.dataset_inputs):
        log_datasets(run, splits, source)


def link_model(run: Run, model_id: str) -> None:
    """Show a model, which another run has logged, among the models of this one."""
    outputs = mlflow.get_run(run.id).outputs
    if not outputs or model_id not in [one.model_id for one in outputs.model_outputs]:
        mlflow.MlflowClient().log_outputs(run.id, [LoggedModelOutput(model_id=model_id, step=0)])


def disk_use(study: str) -> int:
    """Return the bytes of all artifacts of a study's trials, their models included."""
    places = [run.info.artifact_uri for run in trial_runs(study)]
    places += [model.artifact_location for model in _models(study)]
    return sum(size_at(place) for place in places)


def drop_models(study: str, name: str, runs: set[str]) -> int:
    """Delete the models of some runs and their versions; return how many.

    A model that has an alias, or that somebody has registered under another name or again, stays.

    Args:
        study: its id.
        name: of the registered model.
        runs: the ids of the runs whose models go.
    """
    deleted = 0
    for model in _models(study):
        if model.source_run_id not in runs:
            continue
        versions = versions_of(model.source_run_id)
        if all(
            v.name == name and v.tags.get("study.id") == study and not v.aliases for v in versions
        ):
            discard(model, versions)
            deleted += 1
    return deleted


def _models(study: str) -> list[LoggedModel]:
    """Return the logged models of a study."""
    runs = trial_runs(study)
    experiments = sorted({run.info.experiment_id for run in runs})
    ids = {run.info.run_id for run in runs}
    client = mlflow.MlflowClient()
    if not experiments:
        return []
    models = paginate(lambda page: client.search_logged_models(experiments, page_token=page))
    return [model for model in models if model.source_run_id in ids]


def _exists(run_id: str) -> bool:
    try:
        return bool(mlflow.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
