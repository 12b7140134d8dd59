"""A training's checkpoints: on this machine often, in the tracking store now and then."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segmentation.runtime.signals import StopSignal
from segmentation.tracking.runs.training_run import ARTIFACT, TrainingRun
from segmentation.training.checkpointer import INTERVAL, Checkpointer
from segmentation.utils.environment import seconds_in

#: Seconds between two checkpoints that go to the tracking store, so that others can go on.
_UPLOAD_INTERVAL = 120.0
#: The environment variable with the seconds between two checkpoints on this machine; 0: one after
#: every epoch.
VARIABLE = "PETSEG_CHECKPOINT_SECONDS"


def run_checkpointer(
    run: TrainingRun, fingerprint: Mapping[str, Any], stop_signal: StopSignal
) -> Checkpointer:
    """Return what keeps a training in its run's folder, and sends some of that to the store.

    Args:
        run: of the training.
        fingerprint: what must be equal for a checkpoint to be of this training, by its name.
        stop_signal: tells whether the user wants to stop.
    """
    last = time.monotonic()

    def upload(path: Path, urgent: bool) -> None:
        nonlocal last
        if urgent or time.monotonic() - last >= _UPLOAD_INTERVAL:
            last = time.monotonic()
            run.log_checkpoint(path, ARTIFACT)

    interval = seconds_in(VARIABLE, INTERVAL)
    return Checkpointer(run.folder.checkpoint, fingerprint, stop_signal, upload, interval)
