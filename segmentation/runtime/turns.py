"""Trainings of one machine compute in turns, step by step.

The threads of an operator wait for each other, oneDNN's in a loop that no variable shortens. Where
two trainings have more threads than there are processors, that takes most of the time.
"""

import contextlib
import fcntl
import functools
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from segmentation.utils.concurrency import CORES

_POLL = 0.0005  # seconds
_PATIENCE = 10.0  # seconds; whoever has the turn may have been suspended


class Turns:
    """The turns that this user's processes take on this machine's processors.

    A process that uses more than half of the processors has its turn alone; others share theirs.
    Whoever waits for it holds a second lock, so that nobody who has just had one overtakes. A
    process with 0 `threads` takes no part.
    """

    def __init__(self, threads: int) -> None:
        self._locks: Sequence[int] = ()
        if threads:
            self._kind = fcntl.LOCK_EX if 2 * threads > CORES else fcntl.LOCK_SH
            with contextlib.suppress(OSError):  # no place for files: all compute at once
                self._locks = _locks()

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the turn, and have it within the context."""
        if not self._locks:
            yield
            return
        following, turn = self._locks
        deadline = time.monotonic() + _PATIENCE
        if not (_lock(following, fcntl.LOCK_EX, deadline) and _lock(turn, self._kind, deadline)):
            self._locks = ()
        fcntl.flock(following, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(turn, fcntl.LOCK_UN)


@functools.cache  # once in a process, however many trainings it runs
def _locks() -> Sequence[int]:
    """Open the files of the next one's lock and of the turn's."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    start = str(Path(tempfile.gettempdir()) / f"petseg-{os.getuid()}")
    return [os.open(f"{start}-{name}.lock", flags, 0o600) for name in ("next", "turn")]


def _lock(file: int, kind: int, deadline: float) -> bool:
    """Lock a file; tell whether that was possible in time."""
    while time.monotonic() < deadline:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            return True
        time.sleep(_POLL)
    return False
