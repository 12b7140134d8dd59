"""What the processes of the tests' pools do."""

import atexit
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def die_once_or_count(tell: Callable[[Any], None], folder: str) -> None:
    try:
        (Path(folder) / "died").mkdir()
    except FileExistsError:
        for number in range(3):
            tell(number)
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def die(tell: Callable[[Any], None]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_the_end(tell: Callable[[Any], None]) -> None:
    """Die after the work, as where a library crashes while the interpreter ends."""
    atexit.register(os._exit, 1)
    tell("done")


def fail(tell: Callable[[Any], None], error: Exception) -> None:
    raise error


def threads(tell: Callable[[Any], None]) -> None:
    import torch

    tell(torch.get_num_threads())


def wait(tell: Callable[[Any], None]) -> None:
    tell(os.getpid())
    time.sleep(600)
