"""A search as MLflow runs: the parent that people open, and the trials nested in it."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import mlflow
from mlflow.entities import LoggedModel, LoggedModelOutput
from mlflow.entities import Run as MlflowRun
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME

from segmentation.tracking.addresses import in_this_store, require_own
from segmentation.tracking.artifacts import versions_of
from segmentation.tracking.logging.mlflow_sink import MlflowSink
from segmentation.tracking.project_run import leave_run
from segmentation.tracking.runs.run import Run, end_tags, tracked_run
from segmentation.tracking.store import find_runs, get_run_or_fail
from segmentation.tracking.tags import FAILURE, PRUNED, STUDY_ID
from segmentation.tuning.study import Trial

#: The stage of the run in which those of the trials are nested.
PARENT = "parent"


@contextlib.contextmanager
def parent_run(name: str, tags: Mapping[str, str], study: str, known: str | None) -> Iterator[Run]:
    """Open the run in which the trials of a study are nested, or go on in it; yield it.

    `study` is the study's id, `known` that of the run as the study has it, None for a new study.
    """
    if known is None:  # there may be one all the same, if a command was killed before it said so
        parents = _runs_of(study, f"= '{PARENT}'")
        known = parents[0].info.run_id if parents else None
    if known:
        require_own(require_parent(known, name).info.artifact_uri)
        # `mlflow run` opens a run of its own each time; the study's parent stays the one it has.
        leave_run(known, f"tune {name} (went on)", f"Went on with the study of run `{known}`.")
        with contextlib.suppress(MlflowException):  # it never failed
            mlflow.MlflowClient().delete_tag(known, FAILURE)
    tags = {**tags, STUDY_ID: study, "stage": PARENT}
    with tracked_run(f"tune {name}", tags, resume=known) as run:
        yield run


def require_parent(known: str, name: str) -> MlflowRun:
    """Return the own run of a study, given its id and the study's name; else a ConfigError."""
    return get_run_or_fail(known, f"study={name}, run {known}", "go on where the study was begun")


def _runs_of(study: str, stage: str) -> list[MlflowRun]:
    """Return the runs of a study, given its id, of which the stage fits, such as `= 'search'`."""
    return find_runs(f"tags.`{STUDY_ID}` = '{study}' AND tags.stage {stage}")


def reconcile(study: str, states: Callable[[], Mapping[tuple[str, int], str]]) -> None:
    """End the runs whose process is gone, and those that say otherwise than their trial.

    `states` returns the present state of each trial by its stage and number.
    """
    client = mlflow.MlflowClient()
    suspects = [run for run in _runs_of(study, f"!= '{PARENT}'") if _says(run) != "failed"]
    known = states() if suspects else {}
    for suspect in suspects:
        tags, run_id = suspect.data.tags, suspect.info.run_id
        state = known.get((tags["stage"], int(tags["trial"])), "lost")
        # A run ends before its trial does: looked at again, it says what it will always say.
        if state == "running" or _says(client.get_run(run_id)) in ("failed", state):
            continue
        if PRUNED in tags:
            client.delete_tag(run_id, PRUNED)
            client.set_tag(run_id, MLFLOW_RUN_NAME, tags[MLFLOW_RUN_NAME].replace(" pruned", ""))
        reason = "the process ended before the training did"
        MlflowSink(run_id).put("tags", end_tags(reason))
        client.set_terminated(run_id, "FAILED")


def _says(run: MlflowRun) -> str:
    """Return the state of the trial that a run shows; pruned ones once ended as KILLED."""
    if PRUNED in run.data.tags:
        return "pruned"
    return {"RUNNING": "running", "FINISHED": "complete"}.get(run.info.status, "failed")


def log_progress(run: Run, name: str, trials: Sequence[Trial], report: str) -> None:
    """Log one point of each curve for each finished trial not logged yet; name and describe."""
    finished = sorted((t for t in trials if t.finished), key=lambda trial: trial.ended)
    history = mlflow.MlflowClient().get_metric_history(run.id, "trials/epochs")
    done = max((point.step for point in history), default=0)
    best: dict[str, float] = {}
    for step, trial in enumerate(finished, 1):
        point = {"trials/epochs": float(trial.reports)}
        if trial.value is not None:
            point["trials/dice"] = trial.value
            if trial.state == "complete":
                best["best/dice"] = max(trial.value, best.get("best/dice", trial.value))
        if step > done:
            run.log_metrics(point | best, step)
    score = "".join(f" {dice:.4f}" for dice in best.values())
    run.rename(f"tune{score} {name}")
    run.describe(report)


def show_model(run: Run, model_id: str) -> None:
    """Show a logged model among those of a run."""
    outputs = mlflow.get_run(run.id).outputs
    if not outputs or model_id not in [one.model_id for one in outputs.model_outputs]:
        mlflow.MlflowClient().log_outputs(run.id, [LoggedModelOutput(model_id=model_id, step=0)])


def droppable(
    study: str, name: str, runs: set[str], since: float
) -> dict[str, tuple[LoggedModel, list[ModelVersion]]]:
    """Return those models that some runs have logged and that can go, with their versions, by run.

    A model stays that has an alias, that somebody has registered under another name or again, or
    that is not provably of this very store. One without a version may be registered elsewhere,
    unless it is younger than `since`, in Unix seconds.
    """
    trials = [run for run in _runs_of(study, f"!= '{PARENT}'") if run.info.run_id in runs]
    experiments = {run.info.experiment_id for run in trials}
    if not experiments:  # MLflow would search its default experiment
        return {}
    found = {}
    for model in mlflow.search_logged_models([*experiments], output_format="list"):
        if model.source_run_id not in runs or not in_this_store(model.artifact_location):
            continue
        versions = versions_of(model.source_run_id)
        own = [v for v in versions if v.name == name and v.tags.get("study.id") == study]
        known = bool(own) or model.creation_timestamp > 1000 * since
        if known and own == versions and not any(version.aliases for version in own):
            found[model.source_run_id] = (model, versions)
    return found
