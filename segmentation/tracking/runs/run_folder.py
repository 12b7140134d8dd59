"""What a training keeps on this machine until it has ended: its checkpoint, and unsent entries."""

import contextlib
import re
import shutil
from collections.abc import Iterator

from filelock import FileLock, Timeout

from segmentation.errors import ConfigError, TrackingError
from segmentation.tracking.logging.outbox import Entry, entries_in
from segmentation.tracking.store import this_store
from segmentation.utils.paths import runs_folder


class BusyError(TrackingError):
    """Another process writes the run."""


class RunFolder:
    """The folder of one run, with its checkpoint and the outbox of what is not uploaded yet.

    Raises:
        ConfigError: `run_id` is no id of MLflow's, and so could be a path to anywhere.
    """

    def __init__(self, run_id: str) -> None:
        if not re.fullmatch(r"[0-9a-f]{32}", run_id):
            raise ConfigError(
                f"run {run_id!r}: expected 32 digits and letters a to f, as MLflow's are"
            )
        self.run_id, self.path = run_id, runs_folder() / run_id
        self.checkpoint, self.outbox = self.path / "checkpoint", self.path / "outbox"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Let one process at a time write for the run; a BusyError comes where another one does."""
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.path / "lock", timeout=0):
                yield
        except Timeout as error:
            raise BusyError(
                f"run {self.run_id} is written by another process, which still lives; wait for its "
                "end, or end it first"
            ) from error

    def is_locked(self) -> bool:
        """Tell whether a process of this machine and cache folder writes the run now."""
        if not self.path.exists():
            return False
        try:
            with self.lock():
                return False
        except BusyError:
            return True

    def claim(self) -> None:
        """Note that the run is of the tracking store that is used now."""
        (self.path / "store").write_text(this_store())

    def is_of_this_store(self) -> bool:
        """Tell whether the run is of the tracking store that is used now."""
        try:
            return (self.path / "store").read_text() == this_store()
        except OSError:
            return False

    def pending(self) -> list[Entry]:
        """Return what the tracking store has not got yet."""
        return entries_in(self.outbox)

    def is_left(self) -> bool:
        """Tell whether something waits for this store that no living process delivers."""
        return self.is_of_this_store() and not self.is_locked() and bool(self.pending())

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def run_folders() -> list[RunFolder]:
    """Return the folders of all runs on this machine, of whatever tracking store."""
    return [RunFolder(path.name) for path in sorted(runs_folder().glob("[0-9a-f]" * 32))]
