"""`tune` stopped by Ctrl-C or killed: it completes with exactly the trials that were asked for."""

import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.helpers.programs import PROJECT, Program, good
from tests.helpers.stopped import interrupt
from tests.helpers.studies import TINY_SEARCH, assert_exact, trials_of
from tests.helpers.waiting import read_until, wait_until, wait_until_gone


def _works(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.Error:  # it has ended meanwhile
        return False


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.full)]
)
def test_ctrl_c_ends_all_and_it_goes_on(program: Program, pets: Path, kind: signal.Signals) -> None:
    options = {**TINY_SEARCH, "trial_epochs": "6", "confirm": "0", "data": pets}
    done = interrupt(program, "tune", program.folder / "mlruns/0/models/*", kind, **options)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: stopped by Ctrl-C or SIGTERM")
    assert len(done.stderr.splitlines()) == 1
    assert f"Go on: mlflow run {PROJECT} -e tune --env-manager local -P " in done.stdout
    assert " -P width=2..4:2 " in done.stdout
    wait_until_gone([child for child in psutil.Process().children() if _works(child)])
    assert {run.info.status for run in program.runs()} <= {"FINISHED", "KILLED", "FAILED"}
    (parent,) = program.runs(stage="parent")
    assert parent.info.status == "KILLED"
    assert "-e tune --env-manager local -P " in parent.data.tags["mlflow.note.content"]
    good(program.entry("tune", **options))
    assert_exact(program, trials=4, confirmations=0)


@pytest.mark.parametrize(
    "kills", [pytest.param(3, marks=pytest.mark.slow), pytest.param(10, marks=pytest.mark.full)]
)
def test_what_is_killed_at_random_completes(program: Program, pets: Path, kills: int) -> None:
    """A worker, the parent, or both are killed, again and again."""
    generator = np.random.default_rng(kills)
    options = {**TINY_SEARCH, "trials": str(2 * kills), "heartbeat": "1"}
    for number in range(kills):
        process = program.start_entry("tune", **options, data=pets)
        workers: list[psutil.Process] = []
        parent = psutil.Process(process.pid)
        while len(workers) < 2:
            assert process.poll() is None, "it had nothing left to do, so nothing was killed"
            workers = [child for child in parent.children() if _works(child)]
            time.sleep(0.05)
        if number == kills - 1:  # the last one while finalists are confirmed
            read_until(process, "Confirming ")
            time.sleep(generator.uniform(0, 2))
        else:
            time.sleep(generator.uniform(0, 12))
        victim = ("worker", "parent", "both")[number % 3]
        if victim != "parent":
            for worker in workers if victim == "both" else workers[:1]:
                worker.kill()
        if victim == "worker":  # another takes its place
            time.sleep(generator.uniform(0, 6))
        process.kill()
        process.communicate()
        wait_until_gone(workers)  # those left behind end by themselves
    wait_until(lambda: "left alone" not in good(program.entry("recover")).stdout)
    assert {run.info.status for run in program.runs()} <= {"FINISHED", "KILLED", "FAILED"}
    assert not any(trial.state == "running" for trial in trials_of(program))
    good(program.entry("tune", **options, data=pets))
    assert_exact(program, trials=2 * kills, confirmations=4)
