"""Waits until programs have come to where a test needs them."""

import contextlib
import subprocess
import time
from collections.abc import Callable

import psutil


def read_until(process: "subprocess.Popen[str]", beginning: str) -> None:
    """Read what a process prints up to a line that begins so; it must not end before."""
    assert process.stdout is not None
    while not process.stdout.readline().startswith(beginning):
        assert process.poll() is None


def wait_until(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_until_gone(processes: list[psutil.Process]) -> None:
    """Wait until none of them runs; one whose parent has not asked for its end counts as gone."""

    def runs(process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            return bool(process.status() != psutil.STATUS_ZOMBIE)
        return False

    wait_until(lambda: not any(map(runs, processes)), 60)
