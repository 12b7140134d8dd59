"""What trainings have left on this machine for the store: delivered, in order, nothing twice."""

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

from segmentation.errors import ConfigError, TrackingError
from segmentation.tracking.logging.outbox import entries_in
from segmentation.tracking.logging.run_logger import OUTBOX, STORE, BusyError, RunLogger, run_lock
from segmentation.tracking.registry import publish
from segmentation.tracking.runs.training_run import CHECKPOINT, drop_checkpoints
from segmentation.tracking.store import this_store
from segmentation.utils.paths import run_folder, runs_folder

_PATIENCE = 15.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class UploadResult:
    """What came of one run's leftovers.

    Attributes:
        run_id: MLflow's.
        entries: how many waited.
        problem: why they could not be delivered; empty where they were.
        status: with which the run has ended; empty where it has not come to its end.
        registered: the version that was registered, if any.
    """

    run_id: str
    entries: int
    problem: str = ""
    status: str = ""
    registered: publish.VersionRef | None = None


def pending() -> Iterator[tuple[str, int]]:
    """Yield the id of each run of which something waits on this machine, and how much.

    Those of living processes are left out: they deliver themselves.
    """
    for folder in sorted(runs_folder().glob("*")):
        count = 0
        if entries_in(folder / OUTBOX) and _is_ours(folder):
            with contextlib.suppress(BusyError, ConfigError), run_lock(folder.name):
                count = len(entries_in(folder / OUTBOX))
        if count:
            yield folder.name, count


def other_stores() -> int:
    """Return of how many runs of other tracking stores something waits on this machine."""
    return sum(
        not _is_ours(folder) and bool(entries_in(folder / OUTBOX))
        for folder in runs_folder().glob("*")
    )


def _is_ours(folder: Path) -> bool:
    """Tell whether a run's folder is of this tracking store."""
    try:
        return (folder / STORE).read_text() == this_store()
    except OSError:
        return False


def deliver(run_id: str, say: Callable[[str], None]) -> UploadResult:
    """Deliver what waits of one run, unless its process still lives; see `UploadResult`."""
    folder = run_folder(run_id)
    entries = entries_in(folder / OUTBOX)
    ends = [entry.metadata["status"] for entry in entries if entry.kind == "end"]
    names = [
        entry.metadata["registration"]["name"]
        for entry in entries
        if entry.kind == "model" and entry.metadata["registration"]
    ]
    try:
        with run_lock(run_id):
            mlflow.MlflowClient().get_run(run_id)  # of this store, and there
            if not RunLogger(run_id, publish.deliver, say, careful=True).finish(_PATIENCE):
                raise TrackingError("the store does not answer; try again when it does")
            registered = publish.registered_from(run_id, names[-1]) if names else None
            status = ends[-1] if ends else ""
            if status == "FINISHED":
                drop_checkpoints(run_id, say)
            if status == "FINISHED" or not (folder / CHECKPOINT).exists():
                shutil.rmtree(folder, ignore_errors=True)
    except (TrackingError, MlflowException) as error:
        problem = next(iter(str(error).splitlines()), "")
        return UploadResult(run_id=run_id, entries=len(entries), problem=problem)
    return UploadResult(run_id=run_id, entries=len(entries), status=status, registered=registered)
