"""The disk fills up, turns read-only, or memory runs out, for real, in the middle of a training."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.programs import Program, entry_command
from tests.helpers.stopped import OFTEN, SHORT, kept_epoch, once_there


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
        for place in (folder, folder.with_name("aside")):
            while place.is_mount():
                subprocess.run(["umount", "-l", str(place)], check=True)


def fill(folder: Path) -> None:
    """Fill a file system to the last byte."""
    with (folder / "filler").open("wb", buffering=0) as file:
        block = os.urandom(2**20)
        while block:
            try:
                file.write(block)
            except OSError:
                block = block[: len(block) // 2]


def turn_read_only(folder: Path) -> None:
    # The file system itself cannot turn, since files in it are open; what its path leads to does.
    # It turns elsewhere: a file opened at this path between the two steps would forbid it.
    aside = folder.with_name("aside")
    aside.mkdir()
    mount("--bind", str(folder), str(aside))
    mount("-o", "remount,bind,ro", str(aside))
    mount("--bind", str(aside), str(folder))


@pytest.mark.parametrize(
    ("also_the_store", "trouble", "told"),
    [
        (True, fill, "No space left on device; free some space"),
        pytest.param(False, fill, "No space left on device", marks=pytest.mark.slow),
        (False, turn_read_only, "make it writable"),
    ],
)
def test_a_disk_that_takes_no_more_ends_the_run_as_failed_with_its_last_checkpoint_whole(
    small: Path,
    tmp_path: Path,
    pets: Path,
    also_the_store: bool,
    trouble: Callable[[Path], None],
    told: str,
) -> None:
    program = Program((small if also_the_store else tmp_path) / "work", small / "cache")
    with once_there(program.cache / "runs" / "*" / "checkpoint", lambda: trouble(small)):
        done = program.entry("train", **OFTEN, **SHORT | {"epochs": "100000"}, data=pets)
    assert done.returncode == 1
    assert told in done.stderr
    if trouble == fill:
        (small / "filler").unlink()
    run = program.the_run.info
    assert run.status == "FAILED"
    assert kept_epoch(program.cache / "runs" / run.run_id / "checkpoint") >= 1
    assert f"-e train --env-manager local -P resume={run.run_id}" in done.stdout


@pytest.mark.slow
def test_too_little_memory_ends_in_what_to_lower(program: Program, pets: Path) -> None:
    options = {**SHORT, "width": "64", "image_size": "1024", "batch_size": "12", "patch": "1"}
    command = entry_command("train", **options, data=pets)
    limited = ["bash", "-c", 'ulimit -v 8000000; exec "$@"', "bash", *command]
    done = program.run(*limited)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    assert "memory ran out; lower batch_size, image_size, width" in done.stderr
    assert program.the_run.info.status == "FAILED"
