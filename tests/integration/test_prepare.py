"""`prepare`: a real download from a server on loopback, verification, the folder of masks."""

import io
import os
import signal
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
from PIL import Image

from tests.helpers.loopback import Server, archives_of
from tests.helpers.programs import TINY, Program


@pytest.fixture
def server(pets: Path) -> Iterator[Server]:
    serving = Server(archives_of(pets))
    yield serving
    serving.close()


def whole(program: Program) -> bool:
    return (program.cache / "oxford-iiit-pet").exists()


def test_download_verify_report_and_then_auto_takes_it(server: Server, program: Program) -> None:
    done = program.run(*server.command())
    assert done.returncode == 0, done.stderr
    assert "examples:  60 in trainval.txt, 12 in test.txt" in done.stdout
    assert "problems:  none" in done.stdout
    assert sorted(path.name for path in (program.cache / "oxford-iiit-pet").iterdir()) == [
        "annotations",
        "images",
    ]
    (run,) = mlflow.MlflowClient(program.store).search_runs(["0"])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["data/trainval"] == 60
    again = program.run(*server.command(md5="0" * 32))  # what is there is not fetched again
    assert again.returncode == 0, again.stderr
    trained = program.entry("train", **TINY | {"epochs": "1"})
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout.startswith("Data: Oxford-IIIT Pet, prepared in ")


@pytest.mark.parametrize("fault", ["break off", "checksum"])
def test_a_broken_download_leaves_nothing_and_the_next_starts_again(
    server: Server, program: Program, fault: str
) -> None:
    server.behaviour = fault
    done = program.run(*server.command(**({"md5": "0" * 32} if fault == "checksum" else {})))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: the data set could not be downloaded")
    assert "Traceback" not in done.stderr
    assert not whole(program)
    assert not list(program.cache.glob(".*partial*"))
    server.behaviour = "good"
    assert program.run(*server.command()).returncode == 0
    assert whole(program)


def test_a_download_killed_half_way_does_not_look_whole(server: Server, program: Program) -> None:
    server.behaviour = "dawdle"
    process = program.start(*server.command())
    deadline = time.monotonic() + 60
    while not list(program.cache.glob(".*partial*/root/oxford-iiit-pet/*.gz*")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not whole(program)
    server.behaviour = "good"
    assert program.run(*server.command()).returncode == 0
    assert whole(program)
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


def test_an_archive_that_leads_out_of_the_folder_is_refused(
    server: Server, program: Program
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../../../../escaped.txt"), io.BytesIO())
    server.archives["images.tar.gz"] = buffer.getvalue()
    done = program.run(*server.command())
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert not list(program.cache.parent.rglob("escaped.txt"))
    assert not whole(program)


def test_all_problems_are_told_at_once(own_pets: Path, program: Program) -> None:
    images = sorted((own_pets / "images").iterdir())
    images[0].write_bytes(images[0].read_bytes()[:500])
    images[1].write_bytes(b"")
    images[2].unlink()
    test = (own_pets / "annotations" / "test.txt").read_text().splitlines()[0].split()[0]
    trainval = (own_pets / "annotations" / "trainval.txt").read_text().splitlines()[-1].split()[0]
    copy, original = (own_pets / "images" / f"{name}.jpg" for name in (test, trainval))
    copy.write_bytes(original.read_bytes())
    Image.open(own_pets / "annotations" / "trimaps" / f"{trainval}.png").save(
        own_pets / "annotations" / "trimaps" / f"{test}.png"
    )
    done = program.entry("prepare", data=own_pets, train_images=10, val_images=5)
    assert done.returncode == 1
    assert "problems:  4" in done.stdout
    for path in (*images[:3], copy):
        assert str(path) in done.stdout
    assert done.stderr.startswith("Error: 4 of the listed examples cannot be used")


def test_a_small_folder_is_reported_whatever_a_training_would_ask_for(
    own_pets: Path, program: Program
) -> None:
    test = own_pets / "annotations" / "test.txt"
    trainval = own_pets / "annotations" / "trainval.txt"
    trainval.write_text(trainval.read_text() + test.read_text())
    sorted((own_pets / "images").iterdir())[0].write_bytes(b"")
    done = program.entry("prepare", data=own_pets)
    assert done.returncode == 1
    assert done.stdout.count("is in both lists") == 10
    assert "the file is empty" in done.stdout
    (run,) = mlflow.MlflowClient(program.store).search_runs(["0"])
    assert run.data.metrics["data/problems"] == done.stdout.count("\n  ") >= 11


@pytest.mark.parametrize("name", ["train", "prepare"])
def test_something_else_in_the_place_of_the_prepared_data_is_told(
    program: Program, name: str
) -> None:
    (program.cache / "oxford-iiit-pet" / "images").mkdir(parents=True)
    done = program.entry(name)
    assert done.returncode == 1
    assert "remove it, then `mlflow run . -e prepare --env-manager local` downloads" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_chosen_images_and_binary_masks_can_be_opened(pets: Path, program: Program) -> None:
    output = program.cache.parent / "shown"
    options = {"data": pets, "train_images": 10, "val_images": 5, "output": output}
    done = program.entry("prepare", **options, border="ignore")
    assert done.returncode == 0, done.stderr
    assert len(list((output / "train" / "masks").iterdir())) == 10
    assert len(list((output / "val" / "images").iterdir())) == 5
    masks = sorted((output / "val" / "masks").iterdir())
    for path in masks:
        trimap = np.asarray(Image.open(pets / "annotations" / "trimaps" / path.name))
        mask = Image.open(path)
        assert np.array_equal(np.asarray(mask), np.array([0, 1, 0, 2])[trimap])
        assert set(np.unique(np.asarray(mask.convert("L")))) == {0, 128, 255}  # as seen
        with Image.open(output / "val" / "images" / path.name) as image:
            assert image.size == mask.size
    refused = program.entry("prepare", **options)
    assert refused.returncode == 2
    assert f"output={output}: exists already" in refused.stderr
