"""When a training is kept on disk."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from segmentation.runtime.signals import StopSignal
from segmentation.training import checkpoint
from segmentation.training.callbacks import Callback
from segmentation.training.trainer import Trainer

#: Seconds between two checkpoints at the least, unless it is said otherwise.
INTERVAL = 10.0
# Of the time at most this share is spent on it, however large the network is.
_SHARE = 0.01


class Checkpointer(Callback):
    """Keeps a training in a file: at times, at its end, and when the user stops it.

    The last of the callbacks: it keeps what the others have decided.

    Args:
        path: of the file.
        fingerprint: what must be equal for a checkpoint to be of this training, by its name.
        stop_signal: tells whether the user wants to stop.
        on_save: called with the file, and whether training ends here, after each writing.
        interval: seconds between two writings at the least.
    """

    def __init__(
        self,
        path: Path,
        fingerprint: Mapping[str, Any],
        stop_signal: StopSignal,
        on_save: Callable[[Path, bool], None] = lambda path, urgent: None,
        interval: float = INTERVAL,
    ) -> None:
        self.path, self.stop_signal = path, stop_signal
        self._fingerprint, self._on_save, self._interval = dict(fingerprint), on_save, interval
        self._last, self._took, self._epochs = time.monotonic(), 0.0, 0

    def on_fit_start(self, trainer: Trainer) -> None:
        self._epochs = trainer.state.schedule.epochs

    def on_step_end(self, trainer: Trainer) -> None:
        """Raise KeyboardInterrupt once all is kept, if the user wants to stop."""
        if self.stop_signal.requested:
            self._save(trainer, urgent=True)
            raise KeyboardInterrupt

    def on_epoch_end(self, trainer: Trainer, metrics: Mapping[str, float]) -> None:
        self.on_step_end(trainer)
        # A clock has changed the number of epochs, and would not decide the same again.
        changed = trainer.state.schedule.epochs != self._epochs
        interval = self._interval and max(self._interval, self._took / _SHARE)
        due = time.monotonic() - self._last >= interval
        if due or changed or trainer.state.finished:
            self._save(trainer, urgent=False)

    def _save(self, trainer: Trainer, *, urgent: bool) -> None:
        started, self._epochs = time.monotonic(), trainer.state.schedule.epochs
        content = {**trainer.state_dict(), "fingerprint": self._fingerprint}
        checkpoint.save(self.path, content)
        self._last = time.monotonic()
        self._took = self._last - started
        self._on_save(self.path, urgent)
