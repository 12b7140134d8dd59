"""`prepare` as a program: killed in the middle, twice at once, on a terminal of few letters."""

import os
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from tests.helpers.loopback import Server, archives_of
from tests.helpers.programs import TINY, Program, entry_command, wait_until


@pytest.fixture
def server(pets: Path) -> Iterator[Server]:
    serving = Server(archives_of(pets))
    yield serving
    serving.close()


def is_whole(program: Program) -> bool:
    return (program.cache / "oxford-iiit-pet").exists()


def test_a_download_killed_half_way_does_not_look_whole(server: Server, program: Program) -> None:
    server.behavior = "dawdle"
    process = program.start(*server.command())
    wait_until(lambda: list(program.cache.glob(".*partial*/root/oxford-iiit-pet/*.gz*")))
    process.kill()
    process.communicate()
    assert not is_whole(program)
    server.behavior = "good"
    assert program.run(*server.command()).returncode == 0
    assert is_whole(program)
    assert not list(program.cache.glob(".*partial*"))


def test_two_that_prepare_at_once_download_once(server: Server, program: Program) -> None:
    processes = [program.start(*server.command()) for _ in range(2)]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert sorted(server.asked) == sorted(server.archives)
    assert all("problems:  none" in out for out, _ in outputs)
    assert not list(program.cache.glob(".*partial*"))
    runs = mlflow.MlflowClient(program.store).search_runs(["0"])
    assert [run.data.metrics["data/trainval"] for run in runs] == [60, 60]


def test_names_that_a_terminal_or_utf8_cannot_show_are_told_all_the_same(
    own_pets: Path, program: Program
) -> None:
    folder = own_pets.rename(own_pets.with_name(os.fsdecode(b"caf\xe9 \n pets")))
    with (folder / "annotations" / "trainval.txt").open("a", encoding="utf-8") as file:
        file.write("猫_1 1 1 1\n")
    (folder / "images" / "猫_1.jpg").write_bytes(b"no photo")
    refusal = r"\u732b_1.jpg: is not a JPEG or PNG or GIF file"
    prepared = program.run(*entry_command("prepare", data=folder), PYTHONIOENCODING="latin-1")
    assert (prepared.returncode, "Traceback" in prepared.stderr) == (1, False), prepared.stderr
    assert refusal in prepared.stdout
    options = TINY | {"epochs": "1", "train_images": "all", "val_images": "8"}
    command = entry_command("train", data=folder, bad_examples="skip", **options)
    trained = program.run(*command, PYTHONIOENCODING="latin-1")
    assert (trained.returncode, "Traceback" in trained.stderr) == (0, False), trained.stderr
    assert refusal in trained.stdout
