"""Write a folder whole or not at all."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target` that becomes `target` if all goes well.

    What an earlier, killed call left behind is removed first: call this under a lock of `target`.

    Raises:
        OSError: the folder cannot be written, or `target` exists and is not empty.
    """
    prefix = f".{target.name}.partial-"
    for leftover in target.parent.glob(f"{prefix}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    stage = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    try:
        yield stage
        stage.chmod(0o755)  # mkdtemp lets nobody else read
        os.replace(stage, target)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise
