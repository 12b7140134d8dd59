"""A training's run: what it says arrives, though the store be slow or away for a while."""

import contextlib
import dataclasses
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

from segmentation.errors import CheckpointError, PeerLostError, TrackingError, TrainingError, full
from segmentation.runtime.signals import StopSignal
from segmentation.tracking import commands
from segmentation.tracking.inventory.storage import remove_at
from segmentation.tracking.logging.run_logger import FAILURE, STORE, RunLogger, run_lock
from segmentation.tracking.logging.system_metrics import MachineWatch
from segmentation.tracking.registry import publish
from segmentation.tracking.runs.heartbeat import Heartbeat, start_heartbeat
from segmentation.tracking.runs.lifecycle import (
    Run,
    ending_badly,
    leave_launchers_run,
    open_run,
    reason_of,
    status_of,
)
from segmentation.tracking.store import release_reserve, this_store
from segmentation.utils.environment import environment, seconds_in
from segmentation.utils.paths import run_folder

#: For so many seconds the end of a training waits for a store that does not answer, unless the
#: environment variable says otherwise.
PATIENCE, VARIABLE = 120.0, "PETSEG_PATIENCE_SECONDS"
# The same where the training has failed, or was stopped: then somebody waits for the prompt.
_SHORT = 5.0

# A call to a server that is away ends soon: it is tried again, in the background. What a user has
# set stays.
_QUICK = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}

#: The name of a checkpoint in its run's folder.
CHECKPOINT = "checkpoint"
#: The artifacts' folder for checkpoints, and the one that lies there.
CHECKPOINTS = "checkpoint"
ARTIFACT = f"{CHECKPOINTS}/latest"


@dataclasses.dataclass
class Training(Run):
    """The run of a training that is open.

    Attributes:
        post: takes what it is to show.
        heartbeat: its signs of life.
        patience: for so many seconds its end waits for a store that does not answer.
    """

    post: RunLogger = dataclasses.field(kw_only=True)
    heartbeat: Heartbeat = dataclasses.field(kw_only=True)
    patience: float = PATIENCE

    @property
    def folder(self) -> Path:
        """Where on this machine lies what the run needs until it is finished."""
        return run_folder(self.id)

    @property
    def checkpoint(self) -> Path:
        """Where its checkpoint lies."""
        return self.folder / CHECKPOINT

    def deliver(self) -> None:
        """Wait until all that was posted has arrived; nothing can be posted afterwards.

        Raises:
            TrackingError: the store does not answer, or has refused something.
        """
        if not self.post.finish(self.patience):
            raise UndeliveredError(
                f"the tracking store does not take what was written ({self.post.courier.trouble}); "
                f"nothing is lost: it lies in {self.folder}, and `{commands.RECOVER}` delivers it "
                "when the store is back, and registers the model if the training came to its end"
            )


class UndeliveredError(TrackingError):
    """What a training has posted waits on this machine for the store."""


# Going on would end the same way, or is not what is to be done, or is done by itself.
_NOT_TO_GO_ON_FROM = (TrainingError, CheckpointError, UndeliveredError, PeerLostError)


@contextlib.contextmanager
def training_run(
    name: str,
    tags: Mapping[str, str],
    *,
    parent: Run | None = None,
    resume: str | None = None,
    patience: float | None = None,
    resumable: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[Training]:
    """Open the run of a training, or go on in one; yield it.

    It ends as `tracked_run` says. What its process cannot deliver waits in the run's folder, which
    is removed when all has arrived and the training has come to its end.

    Args:
        name: of the run.
        tags: given to it from its first moment on.
        parent: the run that it is nested in.
        resume: the id of a run to go on in.
        patience: for so many seconds its end waits for a store that does not answer; None: as
            long as usual.
        resumable: whether `train` can go on with it.
        say: told when the store does not answer and when it does again, and how to go on.

    Raises:
        TrackingError: another process writes the run, or the store does not take its end.
    """
    if patience is None:
        patience = seconds_in(VARIABLE, PATIENCE)
    with contextlib.ExitStack() as opened:
        if resume is not None:
            opened.enter_context(run_lock(resume))
            # `mlflow run` opens a run of its own each time.
            leave_launchers_run(resume, f"{name} (went on)", f"Went on in run `{resume}`.")
        run = open_run(name, tags, parent, resume)
        with ending_badly():
            if resume is None:
                opened.enter_context(run_lock(run.id))
            quick = {key: value for key, value in _QUICK.items() if key not in os.environ}
            opened.enter_context(environment(quick))
            training, watch = _begin(run, patience, say, resumed=resume is not None)
            opened.enter_context(start_heartbeat(training.heartbeat))
        try:
            yield training
            watch.finish()
            training.deliver()
            _end_well(training)
        except BaseException as error:
            # A signal must not cut this short: MLflow would call the run FINISHED. One that says
            # once more what has ended it may.
            asked = isinstance(error, KeyboardInterrupt) or not _in_main_thread()
            with contextlib.nullcontext() if asked else StopSignal().defer():
                watch.finish()
                _end_badly(training, error)
            if resumable and not isinstance(error, _NOT_TO_GO_ON_FROM):
                say(f"Go on: {commands.resume(run.id)}")
            raise
        shutil.rmtree(training.folder, ignore_errors=True)


def _begin(
    run: Run, patience: float, say: Callable[[str], None], *, resumed: bool
) -> tuple[Training, MachineWatch]:
    """Begin to deliver what a training says, and to watch the machine."""
    (run_folder(run.id) / STORE).write_text(this_store())
    if resumed:
        with contextlib.suppress(MlflowException):  # it never failed
            mlflow.delete_tag("failure")
    post = RunLogger(run.id, publish.deliver, say, careful=resumed, going_on=resumed)
    watch = MachineWatch(run.id, post.log_metrics, post.next_step("system/") if resumed else None)
    watch.start()  # type: ignore[no-untyped-call]
    training = Training(
        id=run.id,
        experiment=run.experiment,
        post=post,
        heartbeat=Heartbeat(run.id),
        patience=patience,
    )
    return training, watch


def _end_well(training: Training) -> None:
    """End a run of which all was delivered.

    Raises:
        UndeliveredError: the store went away before that.
    """
    try:
        mlflow.end_run(training.status)
    except MlflowException as error:
        raise UndeliveredError(
            f"the tracking store went away before the run's end ({error}); `{commands.RECOVER}` "
            "ends it when the store is back"
        ) from error


def _end_badly(training: Training, error: BaseException) -> None:
    """End a run that an error has ended, now or when the store is back."""
    post, arrived = training.post, False
    if full(error):
        release_reserve()
    undelivered = isinstance(error, UndeliveredError)
    status = training.status if undelivered else status_of(error)
    with contextlib.suppress(Exception):  # the error that ended the run matters more
        if not undelivered:
            post.set_tags({FAILURE: reason_of(error)})
            arrived = post.finish(_SHORT)
        if not arrived:
            post.end(status)
    with contextlib.suppress(Exception):
        # Where something waits, this is no more than a word until it is delivered.
        mlflow.end_run(status if arrived else "FAILED")
    if arrived and not training.checkpoint.exists():  # nothing is left to go on from
        shutil.rmtree(training.folder, ignore_errors=True)


def _in_main_thread() -> bool:
    """Tell whether this is the thread that hears signals."""
    return threading.current_thread() is threading.main_thread()


def drop_checkpoints(run_id: str, say: Callable[[str], None]) -> None:
    """Remove the checkpoints among a run's artifacts: nobody will go on from them.

    Where that fails, since a server lets not everybody delete, they stay: all else is done.
    """
    client = mlflow.MlflowClient()
    try:
        if any(item.path == CHECKPOINTS for item in client.list_artifacts(run_id)):
            remove_at(client.get_run(run_id).info.artifact_uri, CHECKPOINTS)
    except (MlflowException, OSError) as error:  # of the latter all that the network says
        say(f"Note: the run's artifacts still hold the last checkpoint ({error})")
