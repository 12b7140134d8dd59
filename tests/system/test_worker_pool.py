"""Processes that work side by side: real ones, really killed."""

import atexit
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from segmentation.errors import PetsegError, TrainingError
from segmentation.runtime.worker_pool import WorkerPool
from tests.helpers.programs import PROJECT
from tests.helpers.waiting import wait_until_gone


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
    tell(torch.get_num_threads())


def wait(tell: Callable[[Any], None]) -> None:
    tell(os.getpid())
    time.sleep(600)


def test_a_process_that_dies_is_replaced_and_all_that_is_told_arrives_once(tmp_path: Path) -> None:
    heard: list[int | str] = []
    pool = WorkerPool(2, 1, die_once_or_count, str(tmp_path))
    pool.run(heard.append)
    (death,) = (one for one in heard if isinstance(one, str))
    assert sorted(one for one in heard if isinstance(one, int)) == [0, 0, 1, 1, 2, 2]
    assert "SIGKILL" in death


def test_processes_that_always_die_end_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segmentation.runtime.worker_pool._MAX_DEATHS", 3)
    deaths: list[str] = []
    with pytest.raises(TrainingError, match=r"died 3 times in a row .* lower `workers`"):
        WorkerPool(1, 1, die).run(deaths.append)
    assert len(deaths) == 3


def test_a_process_that_dies_after_its_work_is_not_replaced() -> None:
    heard: list[str] = []
    WorkerPool(1, 1, die_at_the_end).run(heard.append)
    assert heard == ["done"]


def test_an_error_ends_the_others_and_reaches_the_parent_as_it_was() -> None:
    with pytest.raises(TrainingError, match=r"^the lamp went out$"):
        WorkerPool(2, 1, fail, TrainingError("the lamp went out")).run(print)
    with pytest.raises(PetsegError, match="No space left on device; free some space"):
        WorkerPool(1, 1, fail, OSError(28, "No space left on device")).run(print)


def test_each_process_has_its_share_of_the_threads() -> None:
    heard: list[int] = []
    WorkerPool(1, 1, threads).run(heard.append)
    WorkerPool(1, 2, threads).run(heard.append)
    assert heard == [1, 2]


def test_a_parent_that_stops_or_is_killed_leaves_no_process_behind() -> None:
    pids: list[int] = []

    def hear(pid: int) -> None:
        pids.append(pid)
        if len(pids) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        WorkerPool(2, 1, wait).run(hear)
    assert not any(psutil.pid_exists(pid) for pid in pids)

    code = (
        "from segmentation.runtime.worker_pool import WorkerPool\n"
        "from tests.system.test_worker_pool import wait\n"
        "def hear(pid): print(pid, flush=True)\n"
        "if __name__ == '__main__': WorkerPool(2, 1, wait).run(hear)"
    )
    command = [sys.executable, "-c", code]
    parent = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    family = [psutil.Process(int(parent.stdout.readline())) for _ in range(2)]
    parent.kill()
    parent.communicate()
    wait_until_gone(family)
