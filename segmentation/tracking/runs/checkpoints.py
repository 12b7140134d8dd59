"""A training's checkpoints: on this machine often, in the tracking store now and then."""

import contextlib
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from segmentation.runtime.process_group import ProcessGroup
from segmentation.runtime.signals import StopSignal
from segmentation.tracking.logging.callback import TrackingCallback
from segmentation.tracking.logging.run_logger import OUTBOX, BusyError, run_lock
from segmentation.tracking.runs.training_run import ARTIFACT, CHECKPOINT, Training
from segmentation.training.checkpointer import INTERVAL, DiskCheckpointer, SharedCheckpointer
from segmentation.utils.environment import seconds_in
from segmentation.utils.paths import run_folder

#: Seconds between two checkpoints that go to the tracking store, so that others can go on.
_SENT_EVERY = 120.0
#: The environment variable with the seconds between two checkpoints on this machine; 0: one after
#: every epoch.
VARIABLE = "PETSEG_CHECKPOINT_SECONDS"


def keeper_of(
    run: Training, identity: Mapping[str, Any], tracker: TrackingCallback
) -> DiskCheckpointer:
    """Return what keeps a training in its run's folder, and sends some of that to the store.

    Args:
        run: of the training.
        identity: what must be equal for a checkpoint to be of this training, by its name.
        tracker: whose pictures are kept too.
    """
    last = time.monotonic()

    def send(path: Path, urgent: bool) -> None:
        nonlocal last
        if urgent or time.monotonic() - last >= _SENT_EVERY:
            last = time.monotonic()
            run.post.log_checkpoint(path, ARTIFACT)

    return DiskCheckpointer(
        run.checkpoint,
        identity,
        StopSignal(),
        tracker.state,
        send,
        rhythm=seconds_in(VARIABLE, INTERVAL),
    )


@contextlib.contextmanager
def keeping_beside(
    run_id: str, identity: Mapping[str, Any], group: ProcessGroup
) -> Iterator[SharedCheckpointer]:
    """Keep a training that another process tracks: a copy on this machine, while it is needed.

    None where another process of this machine, or of one that shares its cache folder, has one.

    Args:
        run_id: of the training.
        identity: see `keeper_of`.
        group: the processes that train together.
    """
    with contextlib.ExitStack() as held:
        own = None
        if not group.local_rank:
            with contextlib.suppress(BusyError):
                held.enter_context(run_lock(run_id))
                path, rhythm = run_folder(run_id) / CHECKPOINT, seconds_in(VARIABLE, INTERVAL)
                # Of an interruption the main process hears alone.
                own = DiskCheckpointer(path, identity, StopSignal(), rhythm=rhythm)
        yield SharedCheckpointer(own, group)
        if own is not None:
            own.path.unlink(missing_ok=True)
            if not (own.path.parent / OUTBOX).exists():  # what it was to deliver as the main one
                shutil.rmtree(own.path.parent, ignore_errors=True)
