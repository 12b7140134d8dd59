"""`recover`: what a kill has left is found, ended and told; what lives is left alone."""

import time
from pathlib import Path

import mlflow
import pytest

from segmentation.tracking.runs import stale
from segmentation.tracking.runs.heartbeat import ProcessInfo, first_sign, this_host
from tests.helpers.programs import PROJECT, Program, entry_command, read_until
from tests.helpers.stopped import OFTEN, SHORT
from tests.helpers.studies import TINY_SEARCH, Searched, assert_exact


def test_a_killed_training_is_ended_and_a_living_one_is_left_alone(
    program: Program, pets: Path
) -> None:
    command = entry_command("train", **{**SHORT, "epochs": "100000"}, data=pets)
    dead, alive = (program.start(*command, **OFTEN) for _ in range(2))
    client = mlflow.MlflowClient(program.store)
    try:
        for process in (dead, alive):
            read_until(process, "Epoch ")
        dead.kill()
        dead.communicate()
        listed = program.entry("recover", end="false")
        before = {run.info.status for run in client.search_runs(["0"])}
        done, again = program.entry("recover"), program.entry("recover")
        runs = {int(run.data.tags["process.id"]): run for run in client.search_runs(["0"])}
        assert alive.poll() is None
    finally:
        for process in (dead, alive):
            process.kill()
            process.communicate()
    assert "; is to be ended" in listed.stdout
    assert listed.stdout.splitlines()[-1] == "Nothing was changed; say end=true to have it done"
    assert before == {"RUNNING"}
    assert done.returncode == 0, done.stderr
    ended = runs[dead.pid]
    assert ended.info.status == "FAILED"
    assert f"process {dead.pid} of this machine is gone" in ended.data.tags["failure"]
    go_on = f"mlflow run {PROJECT} -e train --env-manager local -P resume={ended.info.run_id}"
    assert f"  Go on: {go_on}" in done.stdout.splitlines()
    assert runs[alive.pid].info.status == "RUNNING"
    assert f"process {alive.pid} of this machine writes it; left alone" in done.stdout
    assert again.stdout.splitlines()[-1] == "Nothing is left to recover"


def test_lost_trials_are_ended_and_the_search_goes_on(program: Program, pets: Path) -> None:
    options = TINY_SEARCH | {"trial_epochs": "40", "pruner": "none", "confirm": "0"}
    options["heartbeat"] = "1"
    process = program.start(*entry_command("tune", **options, data=pets))
    searched = Searched(program)
    try:
        deadline = time.monotonic() + 120
        while not (program.folder / "studies").exists() or not any(
            trial.state == "running" and "run" in trial.user_attrs for trial in searched.trials()
        ):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.1)
    finally:
        process.kill()
        process.communicate()
    deadline = time.monotonic() + 120
    while True:  # workers that are left behind end by themselves
        done = program.entry("recover")
        assert done.returncode == 0, done.stderr
        if "left alone" not in done.stdout:
            break
        assert time.monotonic() < deadline
    assert {run.info.status for run in searched.runs()} <= {"FINISHED", "KILLED", "FAILED"}
    assert not any(trial.state == "running" for trial in searched.trials())
    finished = program.entry("tune", **options, data=pets)
    assert finished.returncode == 0, finished.stderr
    assert_exact(searched, trials=4, confirmations=0)


@pytest.fixture
def store(tmp_path: Path) -> mlflow.MlflowClient:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient(uri)
    client.search_experiments()
    return client


def remote(client: mlflow.MlflowClient, seen: float) -> str:
    """Begin a run as a process of another machine would."""
    tags = {**first_sign(), "process.host": "elsewhere", "process.seen": f"{seen:.0f}"}
    return str(client.create_run("0", tags=tags).info.run_id)


def test_runs_of_other_machines_are_ended_only_after_long_silence_and_a_second_look(
    store: mlflow.MlflowClient,
) -> None:
    silent, slow, fresh = (remote(store, time.time() - ago) for ago in (3600, 3600, 60))
    never = store.create_run("0").info.run_id
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        store.set_tag(slow, "process.seen", f"{time.time() - 3590:.0f}")  # its clock is behind

    verdicts = {one.id: one.verdict for one in stale.find_running(wait)}
    assert verdicts == {
        silent: stale.UNREACHABLE,
        slow: stale.ALIVE,
        fresh: stale.ALIVE,
        never: stale.UNKNOWN,
    }
    assert len(waits) == 1
    assert waits[0] > 60


def test_a_process_is_known_by_more_than_its_number() -> None:
    sign = ProcessInfo.of(first_sign())
    assert sign is not None
    assert sign.is_local()
    assert sign.is_alive()
    assert sign.host == this_host()
    another = ProcessInfo(host=sign.host, pid=sign.pid, started=sign.started - 100, seen=sign.seen)
    assert not another.is_alive()
    assert ProcessInfo.of({}) is None
    assert ProcessInfo.of({**first_sign(), "process.id": "x"}) is None


def test_mistakes_are_told(program: Program) -> None:
    refused = program.entry("recover", storage="postgresql://me@127.0.0.1:9/x")
    assert refused.returncode == 2
    assert "give `study`, too" in refused.stderr
    nothing = program.entry("recover")
    assert (nothing.returncode, nothing.stdout) == (0, "Nothing is left to recover\n")
