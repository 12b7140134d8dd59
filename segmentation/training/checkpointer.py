"""When a training is kept on disk, and whether what lies there is of this very training."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from segmentation.errors import CheckpointError
from segmentation.runtime.signals import StopSignal
from segmentation.training import checkpoint
from segmentation.training.checkpoint import Snapshot

#: At most so often, in seconds, unless it is said otherwise.
INTERVAL = 10.0
# Of the time at most this share is spent on it, however large the network is.
_SHARE = 0.01

#: Returns arrays that somebody else needs to go on.
Extra = Callable[[], Mapping[str, NDArray[Any]]]


def load_matching(path: Path, identity: Mapping[str, Any]) -> Snapshot:
    """Read a checkpoint that is of this very training.

    Raises:
        CheckpointError: it is damaged, of a newer format, or of another training.
    """
    snapshot = checkpoint.read(path)
    kept = snapshot.metadata.get("identity", {})
    other = [
        f"{name} {kept.get(name)!r} there, {identity.get(name)!r} here"
        for name in {**kept, **identity}
        if kept.get(name) != identity.get(name)
    ]
    if other:
        raise CheckpointError(
            f"{path}: is of another training: {'; '.join(other)}; go on with its own data and "
            "settings, or train anew"
        )
    return snapshot


class DiskCheckpointer:
    """Keeps a training in a file: at times, at its end, and when the user stops it.

    Attributes:
        path: of the file.
        interruption: tells whether the user wants to stop.
        seconds: how long writing has taken so far.
        kept: how often it was written.
    """

    def __init__(
        self,
        path: Path,
        identity: Mapping[str, Any],
        interruption: StopSignal,
        extra: Extra = dict,
        on_kept: Callable[[Path, bool], None] = lambda path, urgent: None,
        rhythm: float = INTERVAL,
    ) -> None:
        """Write nothing yet.

        Args:
            path: of the file.
            identity: what must be equal for a checkpoint to be of this training, by its name.
            interruption: tells whether the user wants to stop.
            extra: what observers need to go on.
            on_kept: called with the file, and whether training ends here, after each writing.
            rhythm: seconds between two writings at the least.
        """
        self.path, self._identity, self.interruption = path, dict(identity), interruption
        self._extra, self._on_kept, self._rhythm = extra, on_kept, rhythm
        self._found: Snapshot | None = None
        self.seconds, self.kept = 0.0, 0
        self._last, self._took = time.monotonic(), 0.0

    def load(self) -> Snapshot | None:
        """Return what was kept of this training, or None.

        Raises:
            CheckpointError: it is damaged, of a newer format, or of another training.
        """
        if self._found is None and self.path.exists():
            self._found = load_matching(self.path, self._identity)
        return self._found

    def on_step_end(self, take: Callable[[], Snapshot]) -> None:
        """Keep it if the user wants to stop.

        Raises:
            KeyboardInterrupt: so that training ends here.
        """
        if self.interruption.asked:
            self._keep(take, urgent=True)
            raise KeyboardInterrupt

    def on_epoch_end(self, take: Callable[[], Snapshot], *, now: bool) -> None:
        """Keep it if it is time, or the user wants to stop, or it must be kept now.

        Raises:
            KeyboardInterrupt: so that training ends here.
        """
        self.on_step_end(take)
        wanted = self._rhythm and max(self._rhythm, self._took / _SHARE)
        if now or time.monotonic() - self._last >= wanted:
            self._keep(take, urgent=False)

    def _keep(self, take: Callable[[], Snapshot], *, urgent: bool) -> None:
        started, self._found = time.monotonic(), None
        snapshot = take()
        arrays = {**snapshot.arrays, **self._extra()}
        facts = {**snapshot.metadata, "identity": self._identity}
        checkpoint.write(self.path, Snapshot(arrays=arrays, metadata=facts))
        self._last = time.monotonic()
        self._took = self._last - started
        self.seconds, self.kept = self.seconds + self._took, self.kept + 1
        self._on_kept(self.path, urgent)
