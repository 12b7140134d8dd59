"""`tune` when something is wrong, is killed, or is stopped."""

import signal
import time
from pathlib import Path

import mlflow
import numpy as np
import psutil
import pytest

from tests.helpers.programs import PROJECT, Program, entry_command, read_until, wait_until_gone
from tests.helpers.studies import TINY_SEARCH, Searched, assert_exact

BAD = {
    "no range": ({"width": "8..x"}, "width=8..x: expected a whole number"),
    "nothing to search": ({"width": "4", "lr": "1e-3"}, "nothing to search"),
    "impossible corner": ({"depth": "3..7"}, "depth=7: at image_size=32"),
    "timeout": ({"timeout": "soon"}, "timeout=soon: expected such as 90s"),
    "pruner": ({"pruner": "axe"}, "pruner=axe: expected one of"),
    "study": ({"study": "a/b"}, "study=a/b: expected up to 100 letters"),
    "storage": ({"storage": "sqlite:///x"}, "storage=sqlite:///x: expected postgresql://"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_gives_one_clear_error_and_no_study(
    program: Program, pets: Path, case: str
) -> None:
    changes, message = BAD[case]
    done = program.entry("tune", **{**TINY_SEARCH, "data": pets, **changes})
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert message in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert not (program.folder / "studies").exists()
    if (program.folder / "mlflow.db").exists():
        assert mlflow.MlflowClient(program.store).search_runs(["0"]) == []


def test_failed_trials_do_not_end_a_study_and_other_settings_are_refused(
    program: Program, pets: Path
) -> None:
    # The largest learning rate, with a huge decay, multiplies the weights by -99 at each step.
    wild = {"lr": "1e-3,9.99", "width": "4", "weight_decay": "9.99", "ema": "0"}
    options = {**TINY_SEARCH, **wild, "precision": "fp32", "confirm": "0", "workers": "1"}
    options |= {"trials": "5", "trial_epochs": "25", "pruner": "none", "data": str(pets)}
    done = program.entry("tune", **options)
    assert done.returncode == 0, done.stderr
    searched = Searched(program)
    assert_exact(searched, trials=5, confirmations=0)
    failed = [trial for trial in searched.trials() if trial.state == "failed"]
    assert failed
    assert all("loss became" in trial.user_attrs["failure"] for trial in failed)
    assert all(trial.params["lr"] == 9.99 for trial in failed)
    assert "failed: the" in done.stdout
    runs = searched.runs(stage="search")
    assert sum(run.info.status == "FAILED" for run in runs) == len(failed)
    assert "nothing is confirmed" in done.stdout
    refused = program.entry("tune", **{**options, "lr": "1e-3,1e-2", "split_seed": "1"})
    assert refused.returncode == 2
    assert "study=small was begun with other settings" in refused.stderr
    assert "lr=0.001,0.01 (there it is 0.001,9.99)" in refused.stderr
    assert "split_seed=1 (there it is 0)" in refused.stderr
    assert "images=" in refused.stderr
    assert_exact(searched, trials=5, confirmations=0)


@pytest.mark.parametrize(
    "kind", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.full)]
)
def test_ctrl_c_ends_everything_and_the_same_command_goes_on(
    program: Program, pets: Path, kind: signal.Signals
) -> None:
    options = {**TINY_SEARCH, "trial_epochs": "6", "confirm": "0"}
    command = entry_command("tune", **options, data=pets)
    process = program.start(*command)
    try:
        read_until(process, "Trial ")
        time.sleep(0.5)
        workers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(kind)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 1
    assert err.startswith("Error: stopped by Ctrl-C or SIGTERM")
    assert len(err.splitlines()) == 1
    assert f"Go on: mlflow run {PROJECT} -e tune --env-manager local -P " in out
    assert " -P width=2..4:2 " in out
    wait_until_gone(workers)
    searched = Searched(program)
    assert {run.info.status for run in searched.runs()} <= {"FINISHED", "KILLED", "FAILED"}
    assert searched.parent().info.status == "KILLED"
    done = program.run(*command)
    assert done.returncode == 0, done.stderr
    assert_exact(searched, trials=4, confirmations=0)


def kill_at_random_and_complete(program: Program, pets: Path, kills: int, seed: int) -> None:
    """Kill a worker, the parent, or both, again and again; then let it complete."""
    generator = np.random.default_rng(seed)
    command = entry_command(
        "tune", **{**TINY_SEARCH, "trials": str(2 * kills), "heartbeat": "1"}, data=pets
    )
    searched = Searched(program)
    for number in range(kills):
        process = program.start(*command)
        workers: list[psutil.Process] = []
        try:
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
        finally:
            process.kill()
    done = program.run(*command)
    assert done.returncode == 0, done.stderr
    assert_exact(searched, trials=2 * kills, confirmations=4)


def _works(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.Error:  # it has ended meanwhile
        return False


def test_what_is_killed_at_random_completes_exactly(program: Program, pets: Path) -> None:
    kill_at_random_and_complete(program, pets, kills=3, seed=0)


@pytest.mark.full
def test_what_is_killed_ten_times_completes_exactly(program: Program, pets: Path) -> None:
    kill_at_random_and_complete(program, pets, kills=10, seed=1)
