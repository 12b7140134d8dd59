"""Files and folders that are written whole or not at all; files that are read whole."""

import contextlib
import glob
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

_MAX_BYTES = 256 * 2**20


def read_regular_file(path: Path) -> bytes:
    """Return the bytes of a file, or of what a link leads to.

    Raises:
        OSError: it cannot be read, is empty, larger than 256 MiB, or no plain file.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):  # a pipe or a device would be read for ever
        raise OSError("is not a plain file")
    if not 0 < found.st_size <= _MAX_BYTES:
        size = "empty" if not found.st_size else f"larger than {_MAX_BYTES:,} bytes"
        raise OSError(f"the file is {size}")
    return path.read_bytes()


@contextlib.contextmanager
def atomic_write(target: Path, *, whatever_happens: bool = False) -> Iterator[BinaryIO]:
    """Yield a new file that takes the place of `target` if all goes well.

    With `whatever_happens` it does so after an error too, with what was written by then.
    """
    # Not of the target's name, which may be as long as names can be. Not of `tempfile`, whose files
    # only their owner may read: here the umask decides.
    partial = target.parent / f".partial-{uuid.uuid4().hex}"
    partial.touch(exist_ok=False)
    keep = whatever_happens
    try:
        with partial.open("wb") as stream:
            yield stream
        keep = True
    finally:
        try:
            if keep:
                partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_dir(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target` that becomes `target` if all goes well.

    An OSError comes where `target` exists and is not empty.
    """
    stage = target.parent / f"{_prefix(target)}{uuid.uuid4().hex}"
    stage.mkdir()
    try:
        yield stage
        stage.replace(target)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise


def create_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Return a folder that `make` fills the first time; others wait for who makes it."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not folder.exists():
                for partial in folder.parent.glob(f"{glob.escape(_prefix(folder))}*"):
                    shutil.rmtree(partial, ignore_errors=True)  # which a killed call left
                with atomic_dir(folder) as stage:
                    make(stage)
    return folder


def _prefix(target: Path) -> str:
    return f".{target.name}.partial-"
