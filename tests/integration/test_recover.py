"""`recover`: what a kill has left is found, ended and told; what lives is left alone."""

import contextlib
import dataclasses
import os
import sqlite3
import subprocess
import time

import mlflow
import pytest

from segmentation.tracking.runs import stale
from segmentation.tracking.runs.heartbeat import ProcessInfo, first_sign
from segmentation.tracking.summaries.studies import reconcile
from segmentation.tracking.tags import FORMER, PRUNED, SEEN, SETTINGS, STUDY_ID
from tests.helpers.programs import PROJECT, Program, good


def begun(client: mlflow.MlflowClient, *, former: bool = False, **process: str) -> str:
    """Begin a run as a training of this process would, but for some tags, or with former names."""
    own = {f"mlflow.petseg.process.{name}": value for name, value in process.items()}
    tags = {**first_sign(), SETTINGS: "{}", **own}
    if former:
        tags = {FORMER[name]: value for name, value in tags.items()}
    return str(client.create_run("0", tags=tags).info.run_id)


@pytest.mark.parametrize("former", [False, True])
def test_a_dead_training_is_ended_and_a_living_one_is_left_alone(
    program: Program, client: mlflow.MlflowClient, former: bool
) -> None:
    sleeper = subprocess.Popen(["sleep", "600"])
    dead = begun(client, former=former, id=str(sleeper.pid))
    sleeper.kill()
    sleeper.wait()
    alive = begun(client, former=former)
    listed = good(program.entry("recover", end="false"))
    assert "; is to be ended" in listed.stdout
    assert listed.stdout.splitlines()[-1] == "Nothing was changed; say end=true to have it done"
    assert client.get_run(dead).info.status == "RUNNING"
    done = good(program.entry("recover"))
    run = client.get_run(dead)
    assert run.info.status == "FAILED"
    assert f"process {sleeper.pid} of this machine is gone" in run.data.tags["failure"]
    go_on = f"mlflow run {PROJECT} -e train --env-manager local -P resume={dead}"
    assert f"  Go on: {go_on}" in done.stdout.splitlines()
    assert go_on in run.data.tags["mlflow.note.content"].splitlines()
    assert client.get_run(alive).info.status == "RUNNING"
    assert f"process {os.getpid()} of this machine writes it; left alone" in done.stdout
    again = program.entry("recover")
    assert again.stdout.splitlines()[-1] == "Nothing is left to recover"


def test_runs_of_other_machines_are_ended_after_long_silence(client: mlflow.MlflowClient) -> None:
    seen = (f"{time.time() - ago:.0f}" for ago in (3600, 3600, 60))
    silent, slow, fresh = (begun(client, host="elsewhere", seen=one) for one in seen)
    never = client.create_run("0").info.run_id
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        client.set_tag(slow, SEEN, f"{time.time() - 3590:.0f}")  # its clock is behind

    verdicts = {one.id: one.verdict for one in stale.find_running(wait)}
    living = dict.fromkeys((slow, fresh), stale.ALIVE)
    assert verdicts == living | {silent: stale.UNREACHABLE, never: stale.UNKNOWN}
    assert len(waits) == 1
    assert waits[0] > 60


def test_the_runs_of_a_search_are_held_against_its_trials(client: mlflow.MlflowClient) -> None:
    runs = []
    for number, end in enumerate(("FINISHED", "KILLED", "FINISHED")):
        tags = {STUDY_ID: "7", "stage": "search", "trial": str(number), PRUNED: "at epoch 2"}
        name = f"trial {number} pruned 0.5"
        runs.append(client.create_run("0", tags=tags, run_name=name).info.run_id)
        client.set_terminated(runs[-1], end)
    states = {("search", 0): "pruned", ("search", 1): "pruned", ("search", 2): "lost"}
    reconcile("7", lambda: states)
    found = [client.get_run(run_id) for run_id in runs]
    assert [run.info.status for run in found] == ["FINISHED", "KILLED", "FAILED"]
    assert [PRUNED in run.data.tags for run in found] == [True, True, False]
    assert found[2].info.run_name == "trial 2 0.5"
    assert found[2].data.tags["mlflow.note.content"].startswith("the process ended before")


def test_a_process_is_known_by_more_than_its_number() -> None:
    sign = ProcessInfo.of(first_sign())
    assert sign is not None
    assert (sign.is_local(), sign.is_alive()) == (True, True)
    assert not dataclasses.replace(sign, started=sign.started - 100).is_alive()


def test_a_store_whose_making_was_killed_is_made_anew(program: Program) -> None:
    program.folder.mkdir()
    half = program.folder / "mlflow.db-making"
    with contextlib.closing(sqlite3.connect(half)) as connection:
        connection.execute("CREATE TABLE experiments (experiment_id INTEGER)")
    assert good(program.entry("recover")).stdout == "Nothing is left to recover\n"
    assert not half.exists()
