"""Processes and machines that share a study and are killed: exactly the trials asked for."""

import contextlib
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from segmentation.tuning.storage import StudyLocation
from segmentation.tuning.study import TRIES, Study
from tests.helpers import postgres
from tests.helpers.claiming import claiming, open_study
from tests.helpers.programs import Program, good
from tests.helpers.waiting import wait_until


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres.running() as address:
        yield address


@pytest.mark.parametrize(
    ("storage", "total", "kills"),
    [("file", 12, 3), pytest.param("server", 20, 5, marks=pytest.mark.slow)],
)
def test_processes_that_begin_a_study_at_once_and_are_killed_leave_the_exact_number_of_trials(
    program: Program, request: pytest.FixtureRequest, storage: str, total: int, kills: int
) -> None:
    server, random = storage == "server", np.random.default_rng(0)
    address = request.getfixturevalue("server") if server else f"{program.cache}/studies/shared.db"
    processes = [program.start(*claiming(address, total)) for _ in range(4)]
    for _ in range(kills):
        time.sleep(random.uniform(0.2, 1.5))
        processes.pop(int(random.integers(len(processes)))).kill()
        processes.append(program.start(*claiming(address, total)))
    ends = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, ends
    trials = open_study(address).trials()
    assert {trial.state for trial in trials} <= {"complete", "lost", "failed"}
    assert len({str(trial.params) for trial in trials if trial.counts}) == total
    # Parameters whose process was killed each time that they were tried count as failed.
    failed = sum(trial.state == "failed" for trial in trials)
    assert sum(trial.state == "complete" for trial in trials) + failed == total
    assert failed * TRIES <= kills
    # Each lost trial was tried again, once, with its parameters.
    retried = [trial for trial in trials if "retry_of" in trial.user_attrs]
    lost = [trial.number for trial in trials if trial.state == "lost"]
    assert sorted(trial.user_attrs["retry_of"] for trial in retried) == lost
    for trial in retried:
        assert trial.params.items() >= trials[trial.user_attrs["retry_of"]].params.items()


@pytest.mark.slow
def test_what_lives_keeps_its_trial_and_what_hangs_too_long_loses_it(
    program: Program, tmp_path: Path
) -> None:
    study = open_study(str(tmp_path / "shared.db"))
    process = program.start(*claiming(study.location.address, 1, 16))
    wait_until(lambda: any(trial.state == "running" for trial in study.trials()))
    time.sleep(7.5)  # longer than its heartbeats may be missing
    assert study.run_next(1, lambda _: 0.5) is None
    with contextlib.closing(sqlite3.connect(study.location.address, timeout=60)) as database:
        database.execute("BEGIN IMMEDIATE")  # nobody stops in the midst of writing
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
    wait_until(lambda: study.run_next(1, lambda _: 0.5))
    process.send_signal(signal.SIGCONT)  # its end comes too late, and is not told
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "0 lost\n"), err
    assert [(t.state, t.value) for t in study.trials()] == [("lost", None), ("complete", 0.5)]


@pytest.mark.slow
def test_recover_gives_back_what_a_dead_process_held_only(program: Program, server: str) -> None:
    study = open_study(server, name="held")
    study.require_settings({"heartbeat": 1})
    dead, alive = (program.start(*claiming(server, 2, 600, name="held")) for _ in range(2))
    wait_until(lambda: sum(trial.state == "running" for trial in study.trials()) == 2)
    dead.kill()
    dead.communicate()
    told = "held: 0 trials were lost"
    while "held: 0 trials were lost" in told:  # until six heartbeats are missing
        told = good(program.entry("recover", storage=server, study="held")).stdout
    assert "Study:  held: 1 trials were lost, to be tried again; 1 alive" in told
    assert sorted(t.state for t in study.trials()) == ["lost", "running", "waiting"]
    assert alive.poll() is None
    typo = program.entry("recover", storage=server, study="helt")
    assert typo.returncode == 2
    assert f"study=helt: there is no such study in {server}" in typo.stderr
    assert Study.find(StudyLocation(name="helt", address=server, heartbeat=1)) is None
