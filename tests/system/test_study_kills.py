"""Processes that share a study in a file and are killed: exactly the trials asked for."""

import signal
import time
from pathlib import Path

import numpy as np

from segmentation.tuning.study import TRIES, RunningTrial
from tests.helpers.claiming import claiming, open_study
from tests.helpers.programs import Program


def value(trial: RunningTrial) -> float:
    return 0.5


def test_processes_killed_at_random_leave_the_exact_number_of_trials(
    program: Program, tmp_path: Path
) -> None:
    """They also make the file at once."""
    total, kills, generator = 20, 5, np.random.default_rng(0)
    address = str(tmp_path / "studies" / "shared.db")
    command = claiming(address, total)
    processes = [program.start(*command) for _ in range(3)]
    try:
        for _ in range(kills):
            time.sleep(generator.uniform(0.2, 1.5))
            victim = processes.pop(int(generator.integers(len(processes))))
            victim.kill()
            victim.communicate()
            processes.append(program.start(*command))
        for process in processes:
            _, err = process.communicate(timeout=120)
            assert process.returncode == 0, err
    finally:
        for process in processes:
            process.kill()
    trials = open_study(address).trials()
    # Parameters whose process was killed each time that they were tried count as failed.
    failed = [trial for trial in trials if trial.state == "failed"]
    assert sum(trial.state == "complete" for trial in trials) + len(failed) == total
    assert len(failed) * TRIES <= kills
    assert {trial.state for trial in trials} <= {"complete", "lost", "failed"}
    retried = [t.user_attrs["retry_of"] for t in trials if "retry_of" in t.user_attrs]
    assert sorted(retried) == [trial.number for trial in trials if trial.state == "lost"]
    for trial in trials:
        if "retry_of" in trial.user_attrs:
            lost = trials[trial.user_attrs["retry_of"]]
            assert trial.params.items() >= lost.params.items()


def test_what_lives_keeps_its_trial_and_what_hangs_too_long_loses_it(
    program: Program, tmp_path: Path
) -> None:
    study = open_study(str(tmp_path / "shared.db"))
    process = program.start(*claiming(study.location.address, 1, 9))
    try:
        while not any(trial.state == "running" for trial in study.trials()):
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(7.5)  # longer than its heartbeats may be missing
        assert study.run_next(1, value) is None
        process.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + 60
        while study.run_next(1, value) is None:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        process.send_signal(signal.SIGCONT)  # its end comes too late, and is not told
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, "0 lost\n"), err
    finally:
        process.kill()
        process.communicate()
    assert [(t.state, t.value) for t in study.trials()] == [("lost", None), ("complete", 0.5)]
