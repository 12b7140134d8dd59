"""What trainings have left on this machine for the store: delivered, in order, nothing twice."""

import contextlib
import dataclasses
from collections.abc import Iterator

import mlflow
from mlflow.exceptions import MlflowException

from segmentation.errors import TrackingError
from segmentation.tracking.logging.mlflow_sink import MlflowSink
from segmentation.tracking.logging.outbox import Outbox
from segmentation.tracking.logging.uploader import Uploader
from segmentation.tracking.registry.publish import publish
from segmentation.tracking.registry.versions import VersionRef, registered_from
from segmentation.tracking.runs.run_folder import BusyError, RunFolder, run_folders
from segmentation.tracking.runs.training_run import drop_checkpoints

_PATIENCE = 15.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class UploadResult:
    """What came of the entries of one run.

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
    registered: VersionRef | None = None


def pending() -> Iterator[tuple[str, int]]:
    """Yield the id of each run of which something waits on this machine, and how much.

    Those of living processes are left out: they deliver themselves.
    """
    for folder in run_folders():
        count = 0
        if folder.pending() and folder.is_of_this_store():
            with contextlib.suppress(BusyError), folder.lock():
                count = len(folder.pending())
        if count:
            yield folder.run_id, count


def other_stores() -> int:
    """Return of how many runs of other tracking stores something waits on this machine."""
    return sum(bool(folder.pending()) and not folder.is_of_this_store() for folder in run_folders())


def deliver(run_id: str) -> UploadResult:
    """Deliver what waits of one run, unless its process still lives; see `UploadResult`."""
    folder = RunFolder(run_id)
    entries = folder.pending()
    ends = [entry.metadata["status"] for entry in entries if entry.kind == "end"]
    names = [
        entry.metadata["registration"]["name"]
        for entry in entries
        if entry.kind == "model" and entry.metadata["registration"]
    ]
    try:
        with folder.lock():
            mlflow.MlflowClient().get_run(run_id)  # of this store, and there
            sink = MlflowSink(run_id, publish, careful=True)
            if not Uploader(Outbox(folder.outbox), sink).finish(_PATIENCE):
                raise TrackingError("the store does not answer; try again when it does")
            registered = registered_from(run_id, names[-1]) if names else None
            status = ends[-1] if ends else ""
            if status == "FINISHED":
                drop_checkpoints(run_id)
            if status == "FINISHED" or not folder.checkpoint.exists():
                folder.remove()
    except (TrackingError, MlflowException) as error:
        problem = next(iter(str(error).splitlines()), "")
        return UploadResult(run_id=run_id, entries=len(entries), problem=problem)
    return UploadResult(run_id=run_id, entries=len(entries), status=status, registered=registered)
