"""Processes that share a study in a file and are killed: exactly the trials asked for."""

import signal
import time
from pathlib import Path

from segmentation.tuning.study import TRIES, RunningTrial
from tests.helpers.claiming import claiming, open_study
from tests.helpers.programs import Program, wait_until
from tests.helpers.studies import assert_retried, kill_some


def value(trial: RunningTrial) -> float:
    return 0.5


def test_processes_killed_at_random_leave_the_exact_number_of_trials(
    program: Program, tmp_path: Path
) -> None:
    total, kills, address = 20, 5, str(tmp_path / "studies" / "shared.db")
    kill_some(program, claiming(address, total), 3, kills, (0.2, 1.5))
    trials = open_study(address).trials()
    # Parameters whose process was killed each time that they were tried count as failed.
    failed = [trial for trial in trials if trial.state == "failed"]
    assert sum(trial.state == "complete" for trial in trials) + len(failed) == total
    assert len(failed) * TRIES <= kills
    assert {trial.state for trial in trials} <= {"complete", "lost", "failed"}
    assert_retried(trials)


def test_what_lives_keeps_its_trial_and_what_hangs_too_long_loses_it(
    program: Program, tmp_path: Path
) -> None:
    study = open_study(str(tmp_path / "shared.db"))
    process = program.start(*claiming(study.location.address, 1, 9))
    try:
        wait_until(lambda: any(trial.state == "running" for trial in study.trials()))
        time.sleep(7.5)  # longer than its heartbeats may be missing
        assert study.run_next(1, value) is None
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: study.run_next(1, value))
        process.send_signal(signal.SIGCONT)  # its end comes too late, and is not told
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, "0 lost\n"), err
    finally:
        process.kill()
        process.communicate()
    assert [(t.state, t.value) for t in study.trials()] == [("lost", None), ("complete", 0.5)]
