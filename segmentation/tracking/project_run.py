"""The run that `mlflow run`, the launcher of MLflow Projects, opens for a command."""

import contextlib
import os
import shlex
from collections.abc import Mapping

import mlflow
from mlflow.utils.mlflow_tags import (
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_PROJECT_ENTRY_POINT,
    MLFLOW_RUN_NAME,
    MLFLOW_RUN_NOTE,
)

from segmentation.errors import ConfigError
from segmentation.tracking.addresses import mask_password
from segmentation.tracking.commands import mlflow_run
from segmentation.tracking.logging.mlflow_sink import MlflowSink
from segmentation.tracking.runs.heartbeat import ProcessInfo
from segmentation.tracking.store import connect, find_run, store_has
from segmentation.tracking.tags import FAILURE, SAID, unless_said
from segmentation.tracking.templates import linked, render

#: The environment variable by which the launcher tells its run.
VARIABLE = "MLFLOW_RUN_ID"


def open_store(*, writes: bool = True) -> str:
    """Reach the tracking store for a command, see `connect` and `require_own_run`."""
    store = connect(writes=writes)
    require_own_run()
    return store


def require_own_run(known: str | None = None) -> None:
    """Refuse the run that the environment names, unless the launcher has just opened it.

    Left in a shell, the variable would have a finished run written once more. It may name `known`,
    the run that this command goes on in.
    """
    run_id = os.environ.get(VARIABLE)
    if not run_id or run_id == known:
        return
    if trouble := _trouble(run_id):
        raise ConfigError(
            f"{VARIABLE}={run_id}: {trouble}; a command takes no run but one that `mlflow run` has "
            f"just opened for it: `unset {VARIABLE}`, then run again"
        )


def keep_said(tags: Mapping[str, str], run_id: str | None) -> dict[str, str]:
    """Return the tags with which a run begins, or goes on, but for what a user has said of it."""
    there = mlflow.MlflowClient().get_run(run_id).data.tags if run_id else {}
    begun = unless_said(tags, there)
    if not ProcessInfo.of(there):  # it is new, and all that it has was given to it
        begun = {name: text for name, text in begun.items() if name in SAID or name not in there}
    if MLFLOW_RUN_NAME in begun and (name := os.environ.get("MLFLOW_RUN_NAME")):
        begun[MLFLOW_RUN_NAME] = name
    return begun


def leave_run(known: str, name: str, text: str) -> None:
    """Point from the run that the launcher opened for this process to the one that goes on.

    The former gets the name, unless the user has named it, and the text as its description.
    """
    opened = os.environ.pop(VARIABLE, None)
    if opened in (None, known):
        return
    text = linked(text, mlflow.MlflowClient().get_run(known).info.experiment_id)
    tags = {MLFLOW_RUN_NAME: name, MLFLOW_PARENT_RUN_ID: known, MLFLOW_RUN_NOTE: text}
    MlflowSink(opened).put("tags", tags)
    mlflow.MlflowClient().set_terminated(opened)


def close_unused_run(message: str, *, stopped: bool) -> None:
    """End the run that the launcher has opened for a command that has begun nothing in it.

    A run that is not the launcher's fresh one stays as it is. `message` says why the command ended,
    `stopped` whether the user wanted that.
    """
    run_id = os.environ[VARIABLE]
    if not store_has(run_id) or _trouble(run_id):
        return
    known = mlflow.MlflowClient().get_run(run_id).data  # what was typed, as the launcher logs it
    entry = known.tags[MLFLOW_PROJECT_ENTRY_POINT]
    typed = {name: _unquoted(text) for name, text in known.params.items()}
    command = mask_password(mlflow_run(entry, typed))
    reason = mask_password(message)[:4000]
    tags = {
        MLFLOW_RUN_NAME: f"{entry}: {'stopped' if stopped else 'refused'}",
        MLFLOW_RUN_NOTE: render("ended.md", command=command, message=reason, go_on=""),
        FAILURE: reason,
    }
    MlflowSink(run_id).put("tags", keep_said(tags, run_id))
    mlflow.MlflowClient().set_terminated(run_id, "KILLED" if stopped else "FAILED")


def _unquoted(text: str) -> str:
    """Undo the quoting for the shell in which the launcher logs what MLproject does not declare."""
    with contextlib.suppress(ValueError):  # a quotation mark that was typed
        words = shlex.split(text)
        if shlex.join(words) == text and len(words) == 1:
            return words[0]
    return text


def _trouble(run_id: str) -> str:
    """Say why a run is not the launcher's fresh one; empty: it is."""
    if (run := find_run(run_id)) is None:
        return "the tracking store has no such run"
    if run.info.lifecycle_stage != "active":
        return f"the run {run.info.run_name} was deleted"
    if run.info.status != "RUNNING":
        return f"the run {run.info.run_name} has ended ({run.info.status})"
    tags = run.data.tags
    if MLFLOW_PROJECT_ENTRY_POINT not in tags or ProcessInfo.of(tags) or run.data.metrics:
        return f"the run {run.info.run_name} is that of another program"
    return ""
