"""A training's run: what it logs arrives, though the store be slow or away for a while."""

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException

from segmentation.errors import CheckpointError, PeerLostError, TrackingError, TrainingError
from segmentation.runtime.signals import StopSignal
from segmentation.tracking import commands
from segmentation.tracking.artifacts import remove_at
from segmentation.tracking.logging.mlflow_sink import MlflowSink
from segmentation.tracking.logging.outbox import Outbox
from segmentation.tracking.logging.system_metrics import MachineWatch
from segmentation.tracking.logging.uploader import Uploader
from segmentation.tracking.project_run import leave_run
from segmentation.tracking.registry.publish import publish
from segmentation.tracking.registry.versions import VersionRef, registered_from
from segmentation.tracking.runs.heartbeat import heartbeat
from segmentation.tracking.runs.run import (
    Run,
    end_run,
    end_tags,
    ending_badly,
    open_run,
    reason_of,
    status_of,
)
from segmentation.tracking.runs.run_folder import RunFolder
from segmentation.tracking.store import release_reserve
from segmentation.tracking.tags import FAILURE
from segmentation.training.checkpoint import INTERVAL, Checkpointer
from segmentation.utils.environment import environment, seconds_in

#: For so many seconds the end of a training waits for a store that does not answer, unless the
#: environment variable says otherwise.
PATIENCE, VARIABLE = 120.0, "PETSEG_PATIENCE_SECONDS"
# The same where the training has failed, or was stopped: then somebody waits for the prompt.
_SHORT_PATIENCE = 5.0
# The same where what was left is delivered later.
_LATER_PATIENCE = 15.0

# A call to a server that is away ends soon: it is tried again, in the background. What a user has
# set stays.
_QUICK = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}

# The environment variable with the seconds between two checkpoints on this machine; 0: one after
# every epoch.
_CHECKPOINTS = "PETSEG_CHECKPOINT_SECONDS"
# Seconds between two that go to the store, so that another machine can go on.
_UPLOAD_INTERVAL = 120.0

#: The artifacts' folder for checkpoints, and the one that lies there.
CHECKPOINTS = "checkpoint"
ARTIFACT = f"{CHECKPOINTS}/latest"

_log = logging.getLogger(__name__)


class UndeliveredError(TrackingError):
    """What a training has logged waits on this machine for the store."""


# Going on would end the same way, or is done by another entry point, or by the launcher.
_NOT_TO_GO_ON_FROM = (TrainingError, CheckpointError, UndeliveredError, PeerLostError)


class TrainingRun(Run):
    """The run of a training that is open; what it logs waits on disk until the store has it.

    Also what an earlier process of this run has left is delivered.
    """

    def __init__(self, run_id: str, experiment: str, patience: float, *, resumed: bool) -> None:
        self.folder = RunFolder(run_id)
        self.folder.claim()
        self.outbox = Outbox(self.folder.outbox)
        super().__init__(run_id, experiment, self.outbox)
        if resumed:  # what an earlier process has said of its end is no longer true
            self.outbox.discard(lambda entry: entry.kind == "end" or FAILURE in entry.metadata)
        self._patience = patience
        self.uploader = Uploader(self.outbox, MlflowSink(run_id, publish, careful=resumed))

    def checkpointer(self, fingerprint: Mapping[str, Any], stop_signal: StopSignal) -> Checkpointer:
        """Return what keeps the training in the run's folder, and now and then in the store."""
        last = time.monotonic()

        def upload(path: Path, urgent: bool) -> None:
            nonlocal last
            if urgent or time.monotonic() - last >= _UPLOAD_INTERVAL:
                last = time.monotonic()
                self.log_checkpoint(path, ARTIFACT)

        interval = seconds_in(_CHECKPOINTS, INTERVAL)
        return Checkpointer(self.folder.checkpoint, fingerprint, stop_signal, upload, interval)

    def deliver(self) -> None:
        """Wait until all has arrived; a TrackingError says that the store does not take it."""
        if not self.uploader.finish(self._patience):
            raise UndeliveredError(
                f"the tracking store does not take what was written ({self.uploader.trouble}); "
                f"nothing is lost: it lies in {self.folder.path}, and `{commands.recover()}` "
                "delivers it when the store is back, and registers the model if the training came "
                "to its end"
            )

    def end(self) -> None:
        """End the run, of which all was delivered."""
        try:
            end_run(self.status)
        except MlflowException as error:
            raise UndeliveredError(
                f"the tracking store went away before the run's end ({error}); "
                f"`{commands.recover()}` ends it when the store is back"
            ) from error


@contextlib.contextmanager
def training_run(
    name: str,
    tags: Mapping[str, str],
    *,
    parent: Run | None = None,
    resume: str | None = None,
    patience: float | None = None,
    resumable: bool = False,
) -> Iterator[TrainingRun]:
    """Open the run of a training, or go on in one; yield it.

    It ends as `tracked_run` says. What its process cannot deliver waits in the run's folder, which
    is removed when all has arrived and the training has come to its end.

    `patience` is how many seconds its end waits for a store that does not answer, if not as long
    as usual; `resumable` says whether `train` can go on with it.

    Raises:
        TrackingError: another process writes the run, or the store does not take its end.
    """
    if patience is None:
        patience = seconds_in(VARIABLE, PATIENCE)
    with contextlib.ExitStack() as opened:
        if resume is not None:
            opened.enter_context(RunFolder(resume).lock())
            # `mlflow run` opens a run of its own each time.
            leave_run(resume, f"{name} (went on)", f"Went on in run `{resume}`.")
        run_id, experiment = open_run(name, tags, parent, resume)
        with ending_badly():
            if resume is None:
                opened.enter_context(RunFolder(run_id).lock())
            quick = {key: value for key, value in _QUICK.items() if key not in os.environ}
            opened.enter_context(environment(quick))
            run = TrainingRun(run_id, experiment, patience, resumed=resume is not None)
            if resume is not None:
                with contextlib.suppress(MlflowException):  # it never failed
                    mlflow.delete_tag(FAILURE)
                run.describe("")  # there it stood how to go on
            opened.enter_context(heartbeat(run_id))
            watch = MachineWatch(run_id, run.log_metrics, resumed=resume is not None)
            watch.start()  # type: ignore[no-untyped-call]
        try:
            yield run
            watch.finish()  # type: ignore[no-untyped-call]
            run.deliver()
            run.end()
        except BaseException as error:
            # A signal must not cut this short: MLflow would call the run FINISHED. One that says
            # once more what has ended it may.
            on = resumable and not isinstance(error, _NOT_TO_GO_ON_FROM)
            go_on = commands.resume(run_id) if on else ""
            asked = isinstance(error, KeyboardInterrupt)
            with contextlib.nullcontext() if asked else StopSignal().defer():
                watch.finish()  # type: ignore[no-untyped-call]
                _end_badly(run, error, go_on)
            if go_on:
                _log.info("Go on: %s", go_on)
            raise
        run.folder.remove()


def _end_badly(run: TrainingRun, error: BaseException, go_on: str) -> None:
    """End a run that an error has ended, now or when the store is back; say how to go on."""
    release_reserve()
    arrived, undelivered = False, isinstance(error, UndeliveredError)
    status = run.status if undelivered else status_of(error)
    with contextlib.suppress(Exception):  # the error that ended the run matters more
        if not undelivered:
            run.set_tags(end_tags(reason_of(error), go_on))
            arrived = run.uploader.finish(_SHORT_PATIENCE)
        if not arrived:
            run.outbox.put("end", {"status": status})
    with contextlib.suppress(Exception):
        # Where something waits, FAILED is what shows until it is delivered.
        end_run(status if arrived else "FAILED")
    if arrived and not run.folder.checkpoint.exists():  # nothing is left to go on from
        run.folder.remove()


def deliver(folder: RunFolder) -> tuple[str, VersionRef | None]:
    """Deliver, in order and nothing twice, what waits of one run, unless its process still lives.

    Returns:
        The status with which the run has ended, empty where it has not come to its end; and the
        version that was registered, if any.

    Raises:
        TrackingError: the run is written by another process, or the store does not take it all.
        StoreError: the store has no such run, or cannot be reached.
    """
    run_id, entries = folder.run_id, folder.pending()
    ends = [entry.metadata["status"] for entry in entries if entry.kind == "end"]
    models = [entry.metadata["registration"] for entry in entries if entry.kind == "model"]
    with folder.lock():
        mlflow.MlflowClient().get_run(run_id)  # of this store, and there
        sink = MlflowSink(run_id, publish, careful=True)
        if not Uploader(Outbox(folder.outbox), sink).finish(_LATER_PATIENCE):
            raise TrackingError("the store does not answer; try again when it does")
        registered = [registered_from(run_id, model["name"]) for model in models if model]
        status = ends[-1] if ends else ""
        if status == "FINISHED":
            drop_checkpoints(run_id)
        if status == "FINISHED" or not folder.checkpoint.exists():
            folder.remove()
    return status, registered[-1] if registered else None


def drop_checkpoints(run_id: str) -> None:
    """Remove the checkpoints among a run's artifacts: nobody will go on from them.

    Where that fails, since a server lets not everybody delete, they stay: all else is done.
    """
    client = mlflow.MlflowClient()
    try:
        if any(item.path == CHECKPOINTS for item in client.list_artifacts(run_id)):
            remove_at(client.get_run(run_id).info.artifact_uri, CHECKPOINTS)
    except (MlflowException, OSError) as error:  # of the latter all that the network says
        _log.info("Note: the run's artifacts still hold the last checkpoint (%s)", error)
