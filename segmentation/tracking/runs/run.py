"""One piece of work as an MLflow run: how it opens, how it ends, and what it logs through."""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mlflow
from mlflow.utils.autologging_utils import disable_autologging
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE

from segmentation.evaluation.promotion_rule import Decision
from segmentation.tracking.experiment_page import introduce_experiment
from segmentation.tracking.logging.mlflow_sink import MlflowSink
from segmentation.tracking.logging.run_logger import Destination, RunLogger
from segmentation.tracking.project_run import VARIABLE, keep_said
from segmentation.tracking.runs.heartbeat import first_sign, heartbeat
from segmentation.tracking.store import release_reserve
from segmentation.tracking.tags import FAILURE, HOST, SEEN, read, unless_said
from segmentation.tracking.templates import linked, render

#: The ids of the active runs, of a notebook perhaps, in which work is under way.
_taken: set[str] = set()


class Run(RunLogger):
    """A run that is open, in the experiment of an id; it ends as `status` if nothing goes wrong."""

    def __init__(self, run_id: str, experiment: str, destination: Destination) -> None:
        super().__init__(run_id, destination)
        self.experiment, self.status = experiment, "FINISHED"

    def describe(self, markdown: str) -> None:
        """Set the run's description; the files and runs that it names become links."""
        super().describe(linked(markdown, self.experiment, self.id))

    def log_decision(self, decision: Decision) -> None:
        """Log who became champion and the figures that decided it, once."""
        there = mlflow.MlflowClient().get_run(self.id).data  # by a process killed on the way
        new = {name: value for name, value in decision.metrics.items() if name not in there.metrics}
        self.log_metrics(new)
        if "promotion" not in there.tags:
            self.set_tags({"promotion": decision.reason[:5000]})


@contextlib.contextmanager
def tracked_run(
    name: str,
    tags: Mapping[str, str],
    parent: Run | None = None,
    resume: str | None = None,
) -> Iterator[Run]:
    """Open a run, or attach to the one that `mlflow run` opened, or that is active; yield it.

    What is logged goes straight to the store. The run ends as its `status` says, as KILLED on
    Ctrl-C, or as FAILED with the reason in the tag `failure`: never as RUNNING while this process
    can still say so.
    """
    run_id, experiment = open_run(name, tags, parent, resume)
    # Of a notebook's autologging it would have the forest with which Optuna finds importances.
    with ending_badly(), heartbeat(run_id), disable_autologging():
        run = Run(run_id, experiment, MlflowSink(run_id))
        yield run
    end_run(run.status)


def open_run(
    name: str,
    tags: Mapping[str, str],
    parent: Run | None = None,
    resume: str | None = None,
) -> tuple[str, str]:
    """Open a run, or attach to one, or go on in `resume`; return its id and its experiment's.

    Nested in a parent it is always a new one. It has the tags from its first moment on.
    """
    begun = {**tags, MLFLOW_RUN_NAME: name, "git.dirty": has_uncommitted_changes()}
    active = mlflow.active_run()
    where: dict[str, Any] = {"run_id": resume, "nested": active is not None}
    if parent is not None:
        # What `mlflow run` opened is the parent's, though every process of its inherits the name.
        os.environ.pop(VARIABLE, None)
        where = {"experiment_id": parent.experiment, "parent_run_id": parent.id, "nested": True}
        begun = unless_said(begun, {})
    else:
        taken = active.info.run_id if active and _is_to_take(active.info.run_id, resume) else None
        begun = keep_said(begun, resume or os.environ.get(VARIABLE) or taken)
        where["run_id"] = resume or taken
    begun |= first_sign()
    if active and where.get("run_id") == active.info.run_id:
        _taken.add(active.info.run_id)
        run = active
        mlflow.set_tags(begun)
    else:
        run = mlflow.start_run(**where, log_system_metrics=False, tags=begun)
    with ending_badly():
        if parent is None:  # the parent has done it for its trials
            introduce_experiment(run.info.experiment_id)
    return run.info.run_id, run.info.experiment_id


def _is_to_take(run_id: str, resume: str | None) -> bool:
    """Tell whether a run that is active is to be gone on in, or is free of work of ours.

    In a second one's place figures of the first would be overwritten: that one gets a nested run.
    """
    tags = mlflow.MlflowClient().get_run(run_id).data.tags
    return run_id == resume or (resume is None and HOST not in read(tags))


def end_run(status: str) -> None:
    """End the current run; one that was active before is ended by whoever has begun it."""
    run = mlflow.active_run()
    if run and run.info.run_id in _taken:
        _taken.remove(run.info.run_id)
        mlflow.delete_tag(SEEN)  # from now on nobody gives signs of life
    else:
        mlflow.end_run(status)


@contextlib.contextmanager
def ending_badly() -> Iterator[None]:
    """End the current run as FAILED, or as KILLED, where an error comes; it is raised again.

    Left open, MLflow would call it FINISHED when the program ends.
    """
    try:
        yield
    except BaseException as error:
        release_reserve()
        with contextlib.suppress(Exception):  # the error that ended the run matters more
            _note_end(error)
        with contextlib.suppress(Exception):
            end_run(status_of(error))
        raise


def status_of(error: BaseException) -> str:
    """Return the status with which a run ends that was ended by an error."""
    return "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"


def end_tags(reason: str, go_on: str = "") -> dict[str, str]:
    """Return the tags of a run that came to no good end, which describe it too; see `ended`."""
    return {FAILURE: reason, MLFLOW_RUN_NOTE: ended(reason, go_on)}


def ended(reason: str, go_on: str = "") -> str:
    """Return in Markdown why a run came to no good end, and the command that goes on with it."""
    return render("ended.md", command="", message=reason, go_on=go_on)


def reason_of(error: BaseException) -> str:
    """Return the reason why a run ended, as its tag can hold it."""
    if isinstance(error, KeyboardInterrupt):
        return "stopped by Ctrl-C, SIGTERM or SIGHUP"
    return str(error)[:4000] or type(error).__name__


def _note_end(error: BaseException) -> None:
    """Say in the current run why it ends; a description that is there tells more."""
    if run := mlflow.active_run():
        there = mlflow.MlflowClient().get_run(run.info.run_id).data.tags
        tags = end_tags(reason_of(error))
        mlflow.set_tags(tags if not there.get(MLFLOW_RUN_NOTE) else {FAILURE: tags[FAILURE]})


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
