"""Checkpoints: what `torch.save` writes, whole or not at all, read without running code."""

import io
import os
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from segmentation.errors import CheckpointError
from segmentation.runtime.signals import StopSignal
from segmentation.training.callbacks import Callback
from segmentation.training.trainer import Trainer
from segmentation.utils.files import atomic_write

#: What `load` returns, for `fit`.
Checkpoint = Mapping[str, Any]

FORMAT = 3
#: Seconds between two checkpoints at the least, unless it is said otherwise.
INTERVAL = 10.0
# Of the time at most this share is spent on it, however large the network is.
_SHARE = 0.01


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Put a checkpoint in the place of an older one, which stays whole until then."""
    with atomic_write(path) as stream:
        torch.save({**content, "format": FORMAT}, stream)
        stream.flush()
        # Else a power cut could leave the new name with nothing behind it.
        os.fsync(stream.fileno())


def load(path: Path) -> dict[str, Any]:
    """Return what `save` was given.

    Raises:
        CheckpointError: it is not there, damaged, or of another format; the message names it.
    """
    try:
        return parse(path.read_bytes(), str(path))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error


def parse(content: bytes, name: str) -> dict[str, Any]:
    """Return what the content of a file of that name holds; see `load`."""
    try:
        # torch.load does not look at the parts' checksums: a flipped bit would pass.
        damaged = zipfile.ZipFile(io.BytesIO(content)).testzip()
        found = {} if damaged else torch.load(io.BytesIO(content), "cpu", weights_only=True)
        if found["format"] != FORMAT:
            raise ValueError(found["format"])
    except Exception as error:  # what is no checkpoint makes them raise anything
        raise CheckpointError(
            f"{name}: is damaged, or no checkpoint of this version's; remove it to go on from an "
            "older copy, or from the beginning, or go on with the version of Petseg that wrote it"
        ) from error
    return {**found, "path": name}


def require_same(checkpoint: Checkpoint, fingerprint: Mapping[str, Any]) -> None:
    """Raise a CheckpointError where one is of a training with another fingerprint."""
    saved = checkpoint["fingerprint"]
    differing = [
        f"{name} {saved.get(name)!r} there, {fingerprint.get(name)!r} here"
        for name in {**saved, **fingerprint}
        if saved.get(name) != fingerprint.get(name)
    ]
    if differing:
        raise CheckpointError(
            f"{checkpoint['path']}: is of another training: {'; '.join(differing)}; go on with its "
            "own data and settings, or train anew"
        )


class Checkpointer(Callback):
    """Keeps a training in a file: at times, at its end, and when the user stops it.

    The last of the callbacks: it keeps what the others have decided. After each writing, `on_save`
    is called with the file, and whether training ends here; between two of them are at least
    `interval` seconds.
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
        save(self.path, content)
        self._last = time.monotonic()
        self._took = self._last - started
        self._on_save(self.path, urgent)
