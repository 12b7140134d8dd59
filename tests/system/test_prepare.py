"""`prepare` as a program: killed in the middle, twice at once, on a terminal of few letters."""

import contextlib
import os
import sys
from pathlib import Path

import pytest
from torchvision.datasets import OxfordIIITPet

from tests.helpers.loopback import Server, archives_of
from tests.helpers.programs import TINY, Program, finish, good
from tests.helpers.waiting import wait_until

PREPARE = """
import sys
from torchvision.datasets import OxfordIIITPet
from experiments.prepare import main
OxfordIIITPet._RESOURCES = ((sys.argv[1], sys.argv[2]), (sys.argv[3], sys.argv[4]))
main(["--train-images", "10", "--val-images", "5"])
"""


def test_of_three_one_is_killed_and_the_others_download_once(
    pets: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(archives_of(pets))
    words = [word for resource in server.resources() for word in resource]
    command = [sys.executable, "-c", PREPARE, *words]
    with contextlib.closing(server):
        server.behavior = "dawdle"
        killed = program.start(*command)
        wait_until(lambda: list(program.cache.glob(".*partial*/root/oxford-iiit-pet/*.gz*")))
        other = program.start(*command)
        killed.kill()
        killed.communicate()
        assert not (program.cache / "oxford-iiit-pet").exists()
        server.behavior = "good"
        monkeypatch.setattr(OxfordIIITPet, "_RESOURCES", server.resources())
        done = program.entry("prepare", train_images=10, val_images=5), finish(other)
    assert sorted(server.asked[1:]) == sorted(server.archives)
    assert all("problems:  none" in good(one).stdout for one in done)
    assert not list(program.cache.glob(".*partial*"))
    assert [run.data.metrics["data/trainval"] for run in program.runs()] == [40, 40]


def test_names_that_a_terminal_cannot_show_are_told(own_pets: Path, program: Program) -> None:
    folder = own_pets.rename(own_pets.with_name(os.fsdecode(b"caf\xe9 \n pets")))
    with (folder / "annotations" / "trainval.txt").open("a", encoding="utf-8") as file:
        file.write("猫_1 1 1 1\n")
    (folder / "images" / "猫_1.jpg").write_bytes(b"no photo")
    refusal = r"\u732b_1.jpg: is not a JPEG or PNG or GIF file"
    prepared = program.run_entry("prepare", data=folder, PYTHONIOENCODING="latin-1")
    assert (prepared.returncode, "Traceback" in prepared.stderr) == (1, False), prepared.stderr
    assert refusal in prepared.stdout
    options = TINY | {"epochs": "1", "train_images": "all", "val_images": "8"}
    good(program.entry("train", data=folder, bad_examples="skip", **options))
