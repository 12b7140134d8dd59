"""Write a folder whole or not at all."""

import contextlib
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def staged(target: Path) -> Iterator[Path]:
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


def remove_leftovers(target: Path) -> None:
    """Remove what killed calls of `staged` left; only for who holds a lock of `target`."""
    for leftover in target.parent.glob(f"{glob.escape(_prefix(target))}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _prefix(target: Path) -> str:
    return f".{target.name}.partial-"
