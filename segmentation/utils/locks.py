"""Shows which of the files that processes share are open, so that nobody takes one away."""

import contextlib
import fcntl
import os
import weakref
from collections.abc import Iterator
from pathlib import Path

_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC


class SharedLock:
    """Shows, as long as it lives, that a file is in use; the system ends it with its process.

    The sign is a shared lock of a file beside it: were it the SQLite file itself, closing it would
    end SQLite's own locks.
    """

    def __init__(self, path: Path) -> None:
        """Show it; wait for who is just removing the file."""
        with contextlib.suppress(OSError):  # where nothing can be written, nothing is removed
            path.parent.mkdir(parents=True, exist_ok=True)
            number = _open(path)
            weakref.finalize(self, os.close, number)
            fcntl.flock(number, fcntl.LOCK_SH)


def is_locked(path: Path) -> bool:
    """Tell whether somebody uses a file, without a trace."""
    try:
        number = os.open(_sign(path), os.O_RDONLY | _FLAGS)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(number)
    return False


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[bool]:
    """Tell whether nobody uses a file; if so, nobody begins to before the end of this."""
    try:
        number = _open(path)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # somebody does, or the file system knows no such locks
            yield False
        else:
            yield True
    finally:
        os.close(number)


def _open(path: Path) -> int:
    """Open the sign, which is never removed: who waits for a lock would hold another file's."""
    return os.open(_sign(path), os.O_RDONLY | os.O_CREAT | _FLAGS, 0o644)


def _sign(path: Path) -> Path:
    return path.with_suffix(".users")
