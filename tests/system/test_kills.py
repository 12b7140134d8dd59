"""Trainings killed with SIGKILL at random moments: gone on with, they end as if never killed."""

import dataclasses
import re
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import mlflow
import numpy as np
import pytest

from segmentation.training import checkpoint
from tests.helpers.programs import PROJECT, Program, entry_command, mlflow_run, read_until
from tests.helpers.stopped import OFTEN, SHORT, Ended, ended, the_run

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
    assert not list((program.cache / "runs").glob("*"))
    return Whole(command, seconds, ended(program.store))


def resume(program: Program, whole: Whole) -> None:
    """Go on with the run that was killed, or begin again where none was begun."""
    begun = (program.folder / "mlflow.db").exists()
    runs = mlflow.MlflowClient(program.store).search_runs(["0"]) if begun else []
    if runs:
        done = program.entry_with("train", OFTEN, resume=runs[0].info.run_id)
    else:
        done = program.run(*whole.command, **OFTEN)
    assert done.returncode == 0, done.stderr
    ended(program.store).require_same(whole.left)


def kill(program: Program, command: list[str], wait: Callable[[], object]) -> str:
    """Start a training, and kill it after a wait; return what it printed last."""
    process = program.start(*command, **OFTEN)
    try:
        wait()
    finally:
        process.kill()
        out, _ = process.communicate()
    return next(iter(reversed(out.splitlines())), "nothing")[:60]


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


def test_a_training_that_is_killed_ends_as_if_it_never_was(program: Program, whole: Whole) -> None:
    kill(program, whole.command, lambda: wait_for_checkpoint(program, 15))
    resume(program, whole)


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
    def wait() -> None:
        deadline = time.monotonic() + 120
        while not list(program.folder.parent.glob(PLACES[place])):
            assert time.monotonic() < deadline
        time.sleep(np.random.default_rng(len(place)).uniform(0, 0.05))

    kill(program, whole.command, wait)
    resume(program, whole)


@FULL
def test_of_twenty_killed_at_random_twenty_end_as_if_they_never_were(
    tmp_path: Path, whole: Whole
) -> None:
    generator = np.random.default_rng(0)
    for number in range(20):  # one in each twentieth of the time, at random within it
        program = Program(tmp_path / str(number) / "work", tmp_path / str(number) / "cache")
        moment = (number + generator.uniform()) / 20
        said = kill(program, whole.command, partial(time.sleep, moment * whole.seconds))
        resume(program, whole)
        print(f"{number}: killed after {moment:.0%} of the time, behind {said!r}: the same")


@FULL
def test_one_that_is_killed_again_and_again_ends_the_same(program: Program, whole: Whole) -> None:
    command, reached = whole.command, [0]
    for _ in range(3):
        kill(
            program, command, lambda: reached.append(wait_for_checkpoint(program, reached[-1] + 1))
        )
        command = entry_command("train", resume=the_run(program.store).info.run_id)
    resume(program, whole)
    again = program.run(*command, **OFTEN)
    assert again.returncode == 0
    assert "Nothing is left to do: the training " in again.stdout


@pytest.mark.parametrize("kind", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=FULL)])
def test_a_signal_finishes_the_step_saves_and_says_how_to_go_on(
    program: Program, whole: Whole, kind: signal.Signals
) -> None:
    # With a loader process, which changes nothing.
    command = [*whole.command, "--loader-workers", "1"]
    process = program.start(*command, PETSEG_CHECKPOINT_SECONDS="3600")
    try:
        read_until(process, "Epoch ")
        process.send_signal(kind)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 1
    assert err.startswith("Error: stopped by Ctrl-C or SIGTERM")
    client, run = mlflow.MlflowClient(program.store), the_run(program.store)
    run_id = run.info.run_id
    assert run.info.status == "KILLED"
    line = f"Go on: mlflow run {PROJECT} -e train --env-manager local -P resume={run_id}"
    assert line in out.splitlines()
    kept = program.cache / "runs" / run_id / "checkpoint"
    assert checkpoint.load(kept)["state"]["epoch"] >= 1
    sent = Path(client.download_artifacts(run_id, "checkpoint/latest", str(program.folder)))
    assert sent.read_bytes() == kept.read_bytes()
    kept.unlink()  # another machine has nothing but the store
    done = program.run(*mlflow_run("train", resume=run_id))
    assert done.returncode == 0, done.stderr
    assert re.search(r"Going on with w4 .*: epoch \d+ of it is (over|under way)", done.stdout)
    launched = [one for one in client.search_runs(["0"]) if one.info.run_id != run_id]
    for one in launched:  # what `mlflow run` opened for itself
        assert one.data.tags["mlflow.parentRunId"] == run_id
        client.delete_run(one.info.run_id)
    assert "checkpoint" not in [item.path for item in client.list_artifacts(run_id)]
    ended(program.store).require_same(whole.left)


def refusal(done: "subprocess.CompletedProcess[str]", code: int) -> str:
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    return done.stderr


def test_what_cannot_be_gone_on_with_is_refused_in_a_sentence(
    program: Program, whole: Whole, pets: Path
) -> None:
    process = program.start(*whole.command, **OFTEN)
    try:
        wait_for_checkpoint(program)
        process.send_signal(signal.SIGSTOP)  # slow, but alive
        run_id = the_run(program.store).info.run_id
        alive = refusal(program.entry("train", resume=run_id), 2)
    finally:
        process.kill()
        process.communicate()
    assert f"it is still trained, by process {process.pid} of this machine" in alive
    other = refusal(program.entry("train", resume=run_id, width=8, data=pets), 2)
    assert "other settings: width=8 (it was begun with 4)" in other
    for given, reason in (
        ("../../etc", "expected 32 digits and letters"),
        ("0" * 32, "the tracking store has no such run"),
    ):
        assert reason in refusal(program.entry("train", resume=given), 2)
    kept = program.cache / "runs" / run_id / "checkpoint"
    content = kept.read_bytes()
    for bad, reason in (
        (content[:-100], "is damaged"),
        (b'{"format":1,"bytes":0', "is a checkpoint of format 1"),
    ):
        kept.write_bytes(bad)
        assert f"{kept}: {reason}" in refusal(program.entry("train", resume=run_id), 1)
    kept.write_bytes(content)
    resume(program, whole)
