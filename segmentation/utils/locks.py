"""What the file locks of other processes tell."""

from pathlib import Path

from filelock import FileLock, Timeout


def is_held(lock: Path) -> bool:
    """Tell whether somebody holds a file lock; where there is no such file, none is made."""
    if not lock.is_file():
        return False
    try:
        with FileLock(lock).acquire(timeout=0):
            return False
    except Timeout:
        return True
