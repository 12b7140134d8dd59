"""How a training of several processes ended, where PyTorch is not to start them anew.

PyTorch's agent starts all processes again when one does not end with 0. That is right for one that
was killed, and wrong where a process has said what is wrong: it would say so again and again. So
that one leaves its exit code in a file, and all end with 0.
"""

import os
import time
from pathlib import Path

#: The environment variable with the path of that file.
VARIABLE = "PETSEG_ENDING"
_PATIENCE = 3.0  # seconds


def note(code: int) -> bool:
    """Leave an exit code other than 0; tell whether somebody will look at it."""
    path = os.environ.get(VARIABLE)
    if path:
        Path(path).write_text(str(code))
    return bool(path)


def noted() -> int | None:
    """Return the code that a process has left, waiting a little for it; None: none has."""
    path, until = os.environ.get(VARIABLE), time.monotonic() + _PATIENCE
    while path and time.monotonic() < until:
        if Path(path).exists():
            return int(Path(path).read_text() or 1)
        time.sleep(0.05)
    return None


def forget() -> None:
    """Remove what an earlier start of this process has left."""
    if path := os.environ.get(VARIABLE):
        Path(path).unlink(missing_ok=True)
