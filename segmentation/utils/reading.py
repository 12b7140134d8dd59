"""Reads a file whole, if it is one that has an end."""

import stat
from pathlib import Path

_MAX_BYTES = 256 * 2**20


def read_regular_file(path: Path) -> bytes:
    """Return the bytes of a file, or of what a link leads to.

    Raises:
        OSError: it cannot be read, is empty, larger than 256 MiB, or no plain file.
    """
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):  # a pipe or a device would be read for ever
        raise OSError("is not a plain file")
    if not 0 < facts.st_size <= _MAX_BYTES:
        size = "empty" if not facts.st_size else f"larger than {_MAX_BYTES:,} bytes"
        raise OSError(f"the file is {size}")
    return path.read_bytes()
