"""The disk fills up, turns read-only, or memory runs out, for real, in the middle of a training."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from segmentation.training import checkpoint
from tests.helpers.programs import Program, entry_command, read_until
from tests.helpers.stopped import OFTEN, SHORT

LONG = {**SHORT, "epochs": "100000"}


def mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs a file system of its own, which only root may mount: {done.stderr}")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        while folder.is_mount():
            subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Fill a file system to the last byte; return the file that does it."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        block = os.urandom(2**20)
        while block:
            try:
                file.write(block)
            except OSError:
                block = block[: len(block) // 2]
    return filler


def checkpoint_of(program: Program) -> Path:
    (path,) = (program.cache / "runs").glob("*/checkpoint")
    return path


def the_run(program: Program) -> tuple[str, str]:
    (run,) = mlflow.MlflowClient(program.store).search_runs(["0"])
    return run.info.run_id, run.info.status


def train_until_it_keeps(program: Program, pets: Path) -> "subprocess.Popen[str]":
    process = program.start(*entry_command("train", **LONG, data=pets), **OFTEN)
    read_until(process, "Epoch ")
    deadline = time.monotonic() + 60
    while not list((program.cache / "runs").glob("*/checkpoint")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("also_the_store", [True, False], ids=["one disk", "the cache's disk"])
def test_a_full_disk_ends_the_run_as_failed_with_its_last_checkpoint_whole(
    small: Path, tmp_path: Path, pets: Path, also_the_store: bool
) -> None:
    program = Program((small if also_the_store else tmp_path) / "work", small / "cache")
    process = train_until_it_keeps(program, pets)
    try:
        filler = fill(small)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 1
    assert "Traceback" not in err
    assert "No space left on device" in err
    assert "free some space" in err
    assert checkpoint.load(checkpoint_of(program))["state"]["epoch"] >= 1
    filler.unlink()
    run_id, status = the_run(program)
    assert status == "FAILED"
    assert "Go on: mlflow run" in out
    again = program.start(*entry_command("train", resume=run_id), **OFTEN)
    try:
        read_until(again, "Epoch ")
    finally:
        again.kill()
        again.communicate()


def test_a_folder_that_turns_read_only_ends_the_run_as_failed(
    small: Path, tmp_path: Path, pets: Path
) -> None:
    program = Program(tmp_path / "work", small / "cache")
    process = train_until_it_keeps(program, pets)
    try:
        # The file system itself cannot turn, since files in it are open; what is found by its
        # path does.
        mount("--bind", str(small), str(small))
        mount("-o", "remount,bind,ro", str(small))
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 1
    assert "Traceback" not in err
    assert "make it writable" in err
    assert the_run(program)[1] == "FAILED"
    assert checkpoint.load(checkpoint_of(program))["state"]["epoch"] >= 1


def test_too_little_memory_ends_the_run_as_failed_with_what_to_lower(
    program: Program, pets: Path
) -> None:
    options = {**SHORT, "width": "64", "image_size": "1024", "batch_size": "12", "patch": "1"}
    command = entry_command("train", **options, data=pets)
    limited = ["bash", "-c", 'ulimit -v 8000000; exec "$@"', "bash", *command]
    done = program.run(*limited)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    assert "memory ran out; lower batch_size, image_size, width" in done.stderr
    assert the_run(program)[1] == "FAILED"
