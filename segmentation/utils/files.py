"""Write a folder or a file whole or not at all."""

import contextlib
import glob
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout


@contextlib.contextmanager
def atomic_dir(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target` that becomes `target` if all goes well.

    Raises:
        OSError: the folder cannot be written, or `target` exists and is not empty.
    """
    stage = Path(tempfile.mkdtemp(prefix=_prefix(target), dir=target.parent))
    try:
        yield stage
        stage.chmod(0o755)  # mkdtemp lets nobody else read
        os.replace(stage, target)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise


def create_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Return a folder that is made the first time; others wait for who makes it.

    Args:
        folder: where.
        make: fills an empty folder, which becomes `folder` when all has gone well.
    """
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(_lock(folder)):
            if not folder.exists():
                remove_leftovers(folder)
                with atomic_dir(folder) as stage:
                    make(stage)
    return folder


@contextlib.contextmanager
def atomic_write(target: Path, *, whatever_happens: bool = False) -> Iterator[BinaryIO]:
    """Yield a new file that takes the place of `target` if all goes well.

    Args:
        target: the file.
        whatever_happens: also after an error, with what was written by then.

    Raises:
        OSError: the file cannot be written.
    """
    # Not of the target's name, which may be as long as names can be.
    number, name = tempfile.mkstemp(prefix=".partial-", dir=target.parent)
    try:
        with os.fdopen(number, "wb") as stream:
            yield stream
    except BaseException:
        if not whatever_happens:
            os.unlink(name)
            raise
        _put(name, target)
        raise
    _put(name, target)


def _put(name: str, target: Path) -> None:
    os.chmod(name, 0o644)  # mkstemp lets nobody else read
    os.replace(name, target)


def remove_leftovers(target: Path) -> None:
    """Remove what killed calls of `atomic_dir` left; only for who holds a lock of `target`."""
    for leftover in _leftovers(target):
        shutil.rmtree(leftover, ignore_errors=True)


def _leftovers(target: Path) -> list[Path]:
    return list(target.parent.glob(f"{glob.escape(_prefix(target))}*"))


def stale_partials(parent: Path) -> dict[Path, list[Path]]:
    """Return what killed calls of `create_once` left in a folder, by what was to become of it."""
    found: dict[Path, list[Path]] = {}
    for folder in sorted(parent.glob(".*.partial-*")):
        match = re.fullmatch(r"\.(.+)\.partial-[^.]+", folder.name)
        if match and folder.is_dir() and not folder.is_symlink():
            found.setdefault(parent / match[1], []).append(folder)
    return {target: folders for target, folders in found.items() if not _is_being_made(target)}


def remove_stale_partials(target: Path) -> bool:
    """Remove what killed calls left, unless somebody is making it anew; return whether."""
    try:
        with FileLock(_lock(target)).acquire(timeout=0):
            there = bool(_leftovers(target))
            remove_leftovers(target)
    except Timeout:
        return False
    return there


def _is_being_made(target: Path) -> bool:
    """Tell whether `create_once` is at work on a folder."""
    if not _lock(target).exists():
        return False
    try:
        with FileLock(_lock(target)).acquire(timeout=0):
            return False
    except Timeout:
        return True


def _lock(target: Path) -> Path:
    return target.with_suffix(".lock")


def _prefix(target: Path) -> str:
    return f".{target.name}.partial-"
