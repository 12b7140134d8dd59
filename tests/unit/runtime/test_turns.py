import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from segmentation.runtime import turns
from segmentation.runtime.turns import Turns
from segmentation.utils.concurrency import CORES


def another(threads: int = CORES) -> Turns:
    """As in another process: the lock files are opened anew."""
    turns._locks.cache_clear()
    return Turns(threads)


def steps(order: list[str], name: str, mine: Turns, number: int) -> None:
    for _ in range(number):
        with mine.turn():
            order.append(name)
            time.sleep(0.005)
            order.append(name)


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield
    turns._locks.cache_clear()


def test_two_trainings_alternate_step_by_step() -> None:
    order: list[str] = []
    threads = [threading.Thread(target=steps, args=(order, name, another(), 20)) for name in "ab"]
    with another().turn():  # until both are there
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join()
    whole = order[::2]
    assert whole == order[1::2], "a step began within another one"
    assert sum(one != next_ for one, next_ in itertools.pairwise(whole)) >= 30


def test_processes_that_leave_room_share_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "CORES", 4)
    first, second = another(2), another(2)
    with first.turn(), second.turn():
        assert second._locks, "the second waited until its patience ended"


def test_a_suspended_training_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_PATIENCE", 0.05)
    other, order = another(), list[str]()
    with another().turn():
        steps(order, "b", other, 3)
    assert order == ["b"] * 6
