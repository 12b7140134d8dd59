"""What trainings have left on this machine for the store: delivered, in order, nothing twice."""

from collections.abc import Iterator

import mlflow

from segmentation.errors import TrackingError
from segmentation.tracking.logging.mlflow_sink import MlflowSink
from segmentation.tracking.logging.outbox import Outbox
from segmentation.tracking.logging.uploader import Uploader
from segmentation.tracking.registry.publish import publish
from segmentation.tracking.registry.versions import VersionRef, registered_from
from segmentation.tracking.runs.run_folder import RunFolder, run_folders
from segmentation.tracking.runs.training_run import drop_checkpoints

_PATIENCE = 15.0


def pending() -> Iterator[tuple[str, int]]:
    """Yield the id of each run of which something waits on this machine, and how much.

    Those of living processes are left out: they deliver themselves.
    """
    for folder in run_folders():
        if folder.is_of_this_store() and not folder.is_locked() and (entries := folder.pending()):
            yield folder.run_id, len(entries)


def deliver(run_id: str) -> tuple[str, VersionRef | None]:
    """Deliver what waits of one run, unless its process still lives.

    Returns:
        The status with which the run has ended, empty where it has not come to its end; and the
        version that was registered, if any.

    Raises:
        TrackingError: the run is written by another process, or the store does not take it all.
        StoreError: the store has no such run, or cannot be reached.
    """
    folder = RunFolder(run_id)
    entries = folder.pending()
    ends = [entry.metadata["status"] for entry in entries if entry.kind == "end"]
    names = [
        entry.metadata["registration"]["name"]
        for entry in entries
        if entry.kind == "model" and entry.metadata["registration"]
    ]
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
    return status, registered
