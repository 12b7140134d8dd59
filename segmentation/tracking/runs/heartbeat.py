"""Signs of life: which process writes a run, and when it was last heard of.

A process that is killed leaves its run RUNNING. So every open run has tags that name its process,
and one with the time, set every `HEARTBEAT_INTERVAL` seconds. `stale` draws the conclusions.
"""

import contextlib
import dataclasses
import os
import socket
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import mlflow
import psutil

from segmentation.tracking.tags import HOST, PID, SEEN, STARTED, read
from segmentation.utils.concurrency import repeating

#: Seconds between two signs of life.
HEARTBEAT_INTERVAL = 30.0
#: After so many seconds without a sign of life a process of another machine may be gone. Ten
#: intervals, since the store may be away for a while, and clocks differ.
GRACE_PERIOD = 10 * HEARTBEAT_INTERVAL


@dataclasses.dataclass(frozen=True)
class ProcessInfo:
    """Who writes a run, as its tags tell."""

    host: str  # see `this_host`
    pid: int
    started: float  # see `_start_of`
    seen: float  # when it was last heard of, by its own clock, seconds since 1970

    @classmethod
    def of(cls, tags: Mapping[str, str]) -> "ProcessInfo | None":
        """Read the tags of a run; None where it never gave a sign of life."""
        tags = read(tags)
        try:
            return cls(tags[HOST], int(tags[PID]), float(tags[STARTED]), float(tags[SEEN]))
        except (KeyError, ValueError):
            return None

    def is_local(self) -> bool:
        return self.host == this_host()

    def is_alive(self) -> bool:
        """Tell whether that very process of this machine lives: not another one with its id."""
        try:
            process = psutil.Process(self.pid)
            alike = abs(_start_of(self.pid) - self.started) < 1
            return alike and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            return False
        except (psutil.Error, OSError):  # it is there, and may not be looked at
            return True


def this_host() -> str:
    """Name this machine, since when it runs, and where its process ids count.

    A container has ids of its own, and often the name of another one.
    """
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):  # Linux tells
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
        parts.append(str(os.stat("/proc/self/ns/pid").st_ino))
    return " ".join(parts)


def first_sign() -> dict[str, str]:
    """Return the tags with which a run of this process begins."""
    process = psutil.Process()
    return {
        HOST: this_host(),
        PID: str(process.pid),
        STARTED: f"{_start_of(process.pid):.2f}",
        SEEN: f"{time.time():.0f}",
    }


def _start_of(pid: int) -> float:
    """Return when a process began: on Linux in ticks since the machine's start, else Unix time.

    Ticks do not move when the machine's clock is set, as the time of day would.
    """
    if Path("/proc/self/stat").exists():
        stat = Path(f"/proc/{pid}/stat").read_text()
        return float(stat.rpartition(")")[2].split()[19])
    return float(psutil.Process(pid).create_time())


def heartbeat(run_id: str) -> AbstractContextManager[None]:
    """Give a run's signs of life meanwhile."""
    client = mlflow.MlflowClient()
    return repeating(lambda: client.set_tag(run_id, SEEN, f"{time.time():.0f}"), HEARTBEAT_INTERVAL)
