"""Trainings killed with SIGKILL at random moments: gone on with, they end as if never killed."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest

from segmentation.config.training import TrainingConfig
from segmentation.data.loader import Batch, BatchLoader
from segmentation.errors import explain
from tests.helpers.programs import PROJECT, Program, good, mlflow_run
from tests.helpers.quick import Data
from tests.helpers.stopped import OFTEN, SHORT, Ended, ended, kept_epoch
from tests.helpers.waiting import read_until, wait_until, wait_until_gone

FULL = pytest.mark.full


def resume(program: Program, whole: Ended, pets: Path) -> None:
    """Go on with the run that was killed, or begin again where none was begun."""
    runs = program.runs() if (program.folder / "mlflow.db").exists() else []
    options = {"resume": runs[0].info.run_id} if runs else {**SHORT, "data": pets}
    good(program.entry("train", **OFTEN, **options))
    ended(program).require_same(whole)


def kill(program: Program, pets: Path, wait: Callable[[], object]) -> None:
    """Start a training, and kill it after a wait."""
    process = program.start_entry("train", **OFTEN, **SHORT, data=pets)
    wait()
    process.kill()
    process.communicate()


def test_a_killed_training_ends_as_if_it_never_was_and_goes_on_from_its_own_alone(
    program: Program, whole: Ended, pets: Path
) -> None:
    process = program.start_entry("train", **OFTEN, **SHORT, data=pets)
    kept = (program.cache / "runs").glob
    wait_until(lambda: any(kept_epoch(path) >= 8 for path in kept("*/checkpoint")))
    process.send_signal(signal.SIGSTOP)  # slow, but alive
    run_id = program.the_run.info.run_id
    alive = program.refused(2, "train", resume=run_id)
    process.kill()
    process.communicate()
    assert f"it is still trained: process {process.pid} of this machine" in alive
    other = program.refused(2, "train", resume=run_id, width=8, data=pets)
    assert "other settings: width=8 (it was begun with 4)" in other
    assert "store has no such run" in program.refused(2, "train", resume="0" * 32)
    file = program.cache / "runs" / run_id / "checkpoint"
    content = file.read_bytes()
    for bad in (content[:-100], b'{"format":1,"bytes":0'):
        file.write_bytes(bad)
        assert f"{file}: is damaged" in program.refused(1, "train", resume=run_id)
    file.write_bytes(content)
    resume(program, whole, pets)
    again = good(program.entry("train", resume=run_id))
    assert "Nothing is left to do: the training " in again.stdout


def test_a_training_that_is_killed_while_a_loader_process_starts_leaves_none(pets: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from segmentation.config.training import TrainingConfig\n"
        "from segmentation.data.loader import BatchLoader\n"
        "from tests.helpers.quick import loaded\n"
        "if __name__ == '__main__':\n"
        "    parts, config = loaded(Path(sys.argv[1])), TrainingConfig(loader_workers=1)\n"
        "    list(BatchLoader(parts['train'], parts['val'], config).epoch(1))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(pets)], cwd=PROJECT)
    family: list[psutil.Process] = []
    while len(family) < 2:  # the loader, and multiprocessing's own
        family = psutil.Process(parent.pid).children()
    time.sleep(1)  # it has what it needs, and imports PyTorch
    parent.kill()
    parent.wait()
    wait_until_gone(family)


def kill_loaders_and_go_on(batches: Iterator[Batch]) -> None:
    for process in multiprocessing.active_children():
        process.kill()
        process.join()  # else PyTorch's signal handler may find it later, in pytest's own code
    list(batches)


def test_a_loader_process_that_was_killed_is_told_with_what_helps(data: Data) -> None:
    config = TrainingConfig(batch_size=1, loader_workers=1)
    batches = BatchLoader(data["train"], data["val"], config).epoch(1)
    assert not next(batches).image.is_shared()  # type: ignore[no-untyped-call]  # containers have little
    with pytest.raises(RuntimeError) as raised:
        kill_loaders_and_go_on(batches)
    told = str(explain(raised.value))
    assert "lower loader_workers, or start the container with --shm-size" in told


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
    program: Program, whole: Ended, pets: Path, place: str
) -> None:
    def wait() -> None:
        wait_until(lambda: list(program.folder.parent.glob(PLACES[place])))
        time.sleep(np.random.default_rng(len(place)).uniform(0, 0.05))

    kill(program, pets, wait)
    resume(program, whole, pets)


@FULL
def test_of_twenty_killed_at_random_twenty_end_as_if_they_never_were(
    tmp_path: Path, whole: Ended, pets: Path
) -> None:
    generator = np.random.default_rng(0)
    started = time.monotonic()
    timed = Program.under(tmp_path / "timed")
    timed.start_entry("train", **OFTEN, **SHORT, data=pets).communicate()
    seconds = time.monotonic() - started
    for number in range(20):  # one in each twentieth of the time, at random within it
        program = Program.under(tmp_path / str(number))
        moment = (number + generator.uniform()) / 20
        kill(program, pets, partial(time.sleep, moment * seconds))
        resume(program, whole, pets)


@pytest.mark.slow
def test_ctrl_c_under_mlflow_run_writes_a_checkpoint_too(program: Program, pets: Path) -> None:
    """In a terminal all programs of `mlflow run` hear it at once."""
    command = mlflow_run("train", **{**SHORT, "epochs": "100000"}, data=pets)
    # A session of its own, as a terminal's foreground is.
    process = program.start("setsid", *command)
    read_until(process, "Epoch ")
    family = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=120)
    wait_until_gone(family)
    run = program.the_run
    assert run.info.status in ("KILLED", "FAILED")  # whoever is the last to say
    assert kept_epoch(program.cache / "runs" / run.info.run_id / "checkpoint") >= 1
