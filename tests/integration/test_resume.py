"""Going on with a training whose surroundings are no longer what they were."""

import json
import re
import time
from pathlib import Path

import mlflow
import pytest

from tests.helpers.programs import Program, entry_command, read_until
from tests.helpers.stopped import OFTEN, SHORT

pytestmark = pytest.mark.slow


def stop_after_a_checkpoint(program: Program, data: Path) -> str:
    """Kill a training that has kept something; return the id of its run."""
    process = program.start(*entry_command("train", **SHORT, data=data), **OFTEN)
    try:
        deadline = time.monotonic() + 120
        while not list((program.cache / "runs").glob("*/checkpoint")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.kill()
        process.communicate()
    (run,) = mlflow.MlflowClient(program.store).search_runs(["0"])
    return str(run.info.run_id)


def test_other_images_are_refused_and_the_own_ones_go_on_as_if_nothing_was(
    program: Program, own_pets: Path
) -> None:
    run_id = stop_after_a_checkpoint(program, own_pets)
    client = mlflow.MlflowClient(program.store)
    command = entry_command("train", resume=run_id)
    before = {file: file.read_bytes() for file in (own_pets / "images").iterdir()}
    for file, content in before.items():  # a byte behind the end changes no pixel, but the file
        file.write_bytes(content + b"\n")
    refused = program.run(*command)
    assert (refused.returncode, "Traceback" in refused.stderr) == (1, False)
    assert "is of another training: " in refused.stderr
    assert "train images '" in refused.stderr
    assert client.get_run(run_id).info.status == "RUNNING"  # as the kill has left it
    for file, content in before.items():
        file.write_bytes(content)
    done = program.run(*command)
    assert done.returncode == 0, done.stderr
    assert client.get_run(run_id).info.status == "FINISHED"
    (version,) = client.search_model_versions("name='pet-unet'")
    assert version.run_id == run_id


def test_a_budget_that_left_no_checkpoint_keeps_its_plan(program: Program, pets: Path) -> None:
    command = entry_command("train", **SHORT, data=pets, budget="12s")
    process = program.start(*command, PETSEG_CHECKPOINT_SECONDS="3600")
    try:
        read_until(process, "Epoch 1/")  # a plan is not changed, and so kept, in its first tenth
    finally:
        process.kill()
        process.communicate()
    client = mlflow.MlflowClient(program.store)
    (run,) = client.search_runs(["0"])
    planned = str(json.loads(run.data.tags["settings"])["epochs"])
    done = program.run(*entry_command("train", resume=run.info.run_id))
    assert done.returncode == 0, done.stderr
    assert "it left no checkpoint, so from its beginning" in done.stdout
    first = re.search(r"^Epoch 1/(\d+) ", done.stdout, re.M)
    assert first is not None
    assert first.group(1) == planned
    assert client.get_run(run.info.run_id).info.status == "FINISHED"


def test_what_was_said_of_an_end_is_no_longer_said_when_it_goes_on(
    program: Program, pets: Path
) -> None:
    run_id = stop_after_a_checkpoint(program, pets)
    client = mlflow.MlflowClient(program.store)
    client.set_tag(run_id, "failure", "it was left RUNNING")
    client.set_terminated(run_id, "FAILED")
    done = program.run(*entry_command("train", resume=run_id))
    assert done.returncode == 0, done.stderr
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert "failure" not in run.data.tags
