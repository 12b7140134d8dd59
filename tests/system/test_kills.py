"""Trainings killed with SIGKILL at random moments: gone on with, they end as if never killed."""

import dataclasses
import re
import signal
import time
from pathlib import Path

import mlflow
import numpy as np
import pytest

from segmentation.training import checkpoint
from tests.helpers.programs import PROJECT, Program, entry_command, read_until
from tests.helpers.stopped import OFTEN, SHORT, Ended, ended, resume

FULL = pytest.mark.full


@dataclasses.dataclass(frozen=True)
class Whole:
    """A training that was never stopped."""

    command: list[str]
    seconds: float
    left: Ended


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, pets: Path) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    program = Program(folder / "work", folder / "cache")
    command = entry_command("train", **SHORT, data=pets)
    started = time.monotonic()
    done = program.run(*command, **OFTEN)
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    assert not (program.cache / "runs").exists() or not list((program.cache / "runs").iterdir())
    return Whole(command, seconds, ended(program.store))


def wait_for_checkpoint(program: Program, epoch: int = 1) -> int:
    """Wait until a training has kept an epoch; return which one it was."""
    deadline = time.monotonic() + 120
    while True:
        for path in (program.cache / "runs").glob("*/checkpoint"):
            kept = int(checkpoint.load(path)["state"]["epoch"])
            if kept >= epoch:
                return kept
        assert time.monotonic() < deadline
        time.sleep(0.01)


def kill_and_go_on(program: Program, whole: Whole, moment: float) -> str:
    """Kill a training at a share of its time, and go on with it; return how far it had come."""
    process = program.start(*whole.command, **OFTEN)
    try:
        time.sleep(moment * whole.seconds)
        process.kill()
        out, _ = process.communicate()
    finally:
        process.kill()
    done = resume(program, whole.command)
    assert done.returncode == 0, done.stderr
    ended(program.store).require_same(whole.left)
    return next(iter(reversed(out.splitlines())), "nothing")[:60]


@pytest.mark.parametrize("moment", [0.7])
def test_a_training_killed_at_some_moment_ends_as_if_it_never_was(
    program: Program, whole: Whole, moment: float
) -> None:
    kill_and_go_on(program, whole, moment)


# Moments that no share of the time is sure to meet: what can be seen of each on the disk.
PLACES = {
    "checkpoint": "cache/runs/*/.partial-*",
    "packing": "cache/runs/*/model",
    "logging the model": "work/mlruns/*/models/*",
    "registration": "work/mlruns/*/models/*/artifacts/MLmodel",
}


@pytest.mark.parametrize("place", PLACES)
@FULL
def test_killed_at_a_place_it_ends_as_if_it_never_was(
    program: Program, whole: Whole, place: str
) -> None:
    generator = np.random.default_rng(len(place))
    process = program.start(*whole.command, **OFTEN)
    deadline = time.monotonic() + 120
    try:
        while not list(program.folder.parent.glob(PLACES[place])):
            assert process.poll() is None
            assert time.monotonic() < deadline
        time.sleep(generator.uniform(0, 0.05))
        process.kill()
        process.communicate()
    finally:
        process.kill()
    done = resume(program, whole.command)
    assert done.returncode == 0, done.stderr
    ended(program.store).require_same(whole.left)


@FULL
def test_of_twenty_killed_at_random_twenty_end_as_if_they_never_were(
    tmp_path: Path, whole: Whole
) -> None:
    generator = np.random.default_rng(0)
    for number in range(20):  # one in each twentieth of the time, at random within it
        program = Program(tmp_path / str(number) / "work", tmp_path / str(number) / "cache")
        program.folder.parent.mkdir()
        moment = (number + generator.uniform()) / 20
        said = kill_and_go_on(program, whole, moment)
        print(f"{number}: killed after {moment:.0%} of the time, behind {said!r}: the same")


@FULL
def test_one_that_is_killed_again_and_again_ends_the_same(program: Program, whole: Whole) -> None:
    command, reached = whole.command, 0
    for _ in range(3):
        process = program.start(*command, **OFTEN)
        try:
            reached = wait_for_checkpoint(program, reached + 1)
        finally:
            process.kill()
            process.communicate()
        (run,) = mlflow.MlflowClient(program.store).search_runs(["0"])
        command = entry_command("train", resume=run.info.run_id)
    done = program.run(*command, **OFTEN)
    assert done.returncode == 0, done.stderr
    ended(program.store).require_same(whole.left)
    again = program.run(*command, **OFTEN)
    assert again.returncode == 0
    assert "Nothing is left to do: the training " in again.stdout


@pytest.mark.parametrize("kind", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=FULL)])
def test_a_signal_finishes_the_step_saves_and_says_how_to_go_on(
    program: Program, whole: Whole, kind: signal.Signals
) -> None:
    process = program.start(*whole.command, PETSEG_CHECKPOINT_SECONDS="3600")
    try:
        read_until(process, "Epoch ")
        process.send_signal(kind)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 1
    assert err.startswith("Error: stopped by Ctrl-C or SIGTERM")
    client = mlflow.MlflowClient(program.store)
    (run,) = client.search_runs(["0"])
    run_id = run.info.run_id
    assert run.info.status == "KILLED"
    line = f"Go on: mlflow run {PROJECT} -e train --env-manager local -P resume={run_id}"
    assert line in out.splitlines()
    kept = program.cache / "runs" / run_id / "checkpoint"
    assert checkpoint.load(kept)["state"]["epoch"] >= 1
    sent = Path(client.download_artifacts(run_id, "checkpoint/latest", str(program.folder)))
    assert sent.read_bytes() == kept.read_bytes()
    # Another machine has nothing but the store.
    kept.unlink()
    command = ["mlflow", "run", str(PROJECT), "-e", "train", "--env-manager", "local"]
    done = program.run(*command, f"-Presume={run_id}")
    assert done.returncode == 0, done.stderr
    assert re.search(r"Going on with w4 .*: epoch \d+ of it is (over|under way)", done.stdout)
    launched = [one for one in client.search_runs(["0"]) if one.info.run_id != run_id]
    for one in launched:  # what `mlflow run` opened for itself
        assert one.data.tags["mlflow.parentRunId"] == run_id
        client.delete_run(one.info.run_id)
    assert "checkpoint" not in [item.path for item in client.list_artifacts(run_id)]
    ended(program.store).require_same(whole.left)


def test_what_cannot_be_gone_on_with_is_refused_in_a_sentence(
    program: Program, whole: Whole, pets: Path
) -> None:
    process = program.start(*whole.command, **OFTEN)
    try:
        wait_for_checkpoint(program)
        process.send_signal(signal.SIGSTOP)  # slow, but alive
        client = mlflow.MlflowClient(program.store)
        (run,) = client.search_runs(["0"])
        run_id = run.info.run_id
        command = entry_command("train", resume=run_id)
        alive = program.run(*command)
    finally:
        process.kill()
        process.communicate()
    assert (alive.returncode, "Traceback" in alive.stderr) == (2, False)
    assert f"it is still trained, by process {process.pid} of this machine" in alive.stderr
    other = program.run(*entry_command("train", resume=run_id, width=8, data=pets))
    assert other.returncode == 2
    assert "other settings: width=8 (it was begun with 4)" in other.stderr
    kept = program.cache / "runs" / run_id / "checkpoint"
    content = kept.read_bytes()
    kept.write_bytes(content[:-100])
    damaged = program.run(*command)
    assert (damaged.returncode, "Traceback" in damaged.stderr) == (1, False)
    assert f"{kept}: is damaged" in damaged.stderr
    kept.write_bytes(b'{"format":1,"bytes":0,')
    older = program.run(*command)
    assert (older.returncode, "Traceback" in older.stderr) == (1, False)
    assert f"{kept}: is a checkpoint of format 1" in older.stderr
    for given, reason in (
        ("../../etc", "expected 32 digits and letters"),
        ("0" * 32, "the tracking store has no such run"),
    ):
        refused = program.run(*entry_command("train", resume=given))
        assert refused.returncode == 2
        assert reason in refused.stderr
    kept.write_bytes(content)
    assert program.run(*command).returncode == 0
    ended(program.store).require_same(whole.left)
