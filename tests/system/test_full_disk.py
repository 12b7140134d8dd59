"""The disk fills up, turns read-only, or memory runs out, for real, in the middle of a training."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from tests.helpers.programs import Program, entry_command
from tests.helpers.stopped import OFTEN, SHORT, kept_epoch, once_there

LONG = {**SHORT, "epochs": "100000"}


def mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs a file system of its own, which only root may mount: {done.stderr}")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
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
    return program.cache / "runs" / "*" / "checkpoint"


def require_failed_with_a_checkpoint(program: Program) -> str:
    """Assert that the run failed and that its last checkpoint is whole; return its id."""
    (run,) = mlflow.MlflowClient(program.store).search_runs(["0"])
    assert run.info.status == "FAILED"
    assert kept_epoch(program.cache / "runs" / run.info.run_id / "checkpoint") >= 1
    return str(run.info.run_id)


@pytest.mark.parametrize("also_the_store", [True, False], ids=["one disk", "the cache's disk"])
def test_a_full_disk_ends_the_run_as_failed_with_its_last_checkpoint_whole(
    small: Path, tmp_path: Path, pets: Path, also_the_store: bool
) -> None:
    program = Program((small if also_the_store else tmp_path) / "work", small / "cache")
    with once_there(checkpoint_of(program), lambda: fill(small)):
        done = program.entry_with("train", OFTEN, **LONG, data=pets)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "free some space" in done.stderr
    (small / "filler").unlink()
    run_id = require_failed_with_a_checkpoint(program)
    assert f"-e train --env-manager local -P resume={run_id}" in done.stdout


def test_a_folder_that_turns_read_only_ends_the_run_as_failed(
    small: Path, tmp_path: Path, pets: Path
) -> None:
    def turn_read_only() -> None:
        # The file system itself cannot turn, since files in it are open; what is found by its
        # path does.
        mount("--bind", str(small), str(small))
        mount("-o", "remount,bind,ro", str(small))

    program = Program(tmp_path / "work", small / "cache")
    with once_there(checkpoint_of(program), turn_read_only):
        done = program.entry_with("train", OFTEN, **LONG, data=pets)
    assert done.returncode == 1
    assert "make it writable" in done.stderr
    require_failed_with_a_checkpoint(program)


@pytest.mark.slow
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
    (run,) = mlflow.MlflowClient(program.store).search_runs(["0"])
    assert run.info.status == "FAILED"
