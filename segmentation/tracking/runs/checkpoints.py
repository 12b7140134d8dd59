"""A training's checkpoints: on this machine often, in the tracking store now and then."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segmentation.runtime.signals import StopSignal
from segmentation.tracking.logging.callback import TrackingCallback
from segmentation.tracking.runs.training_run import ARTIFACT, TrainingRun
from segmentation.training.checkpointer import INTERVAL, DiskCheckpointer
from segmentation.utils.environment import seconds_in

#: Seconds between two checkpoints that go to the tracking store, so that others can go on.
_SENT_EVERY = 120.0
#: The environment variable with the seconds between two checkpoints on this machine; 0: one after
#: every epoch.
VARIABLE = "PETSEG_CHECKPOINT_SECONDS"


def keeper_of(
    run: TrainingRun, identity: Mapping[str, Any], tracker: TrackingCallback
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
            run.log_checkpoint(path, ARTIFACT)

    return DiskCheckpointer(
        run.folder.checkpoint,
        identity,
        StopSignal(),
        tracker.state,
        send,
        rhythm=seconds_in(VARIABLE, INTERVAL),
    )
