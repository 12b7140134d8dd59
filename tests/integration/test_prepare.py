"""`prepare`, and `train` on data that cannot all be used: what they print, log and refuse."""

import contextlib
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import OxfordIIITPet

from segmentation.data.oxford_pets import read_lists
from segmentation.data.splits import in_gate
from tests.helpers.corpus import cases, write
from tests.helpers.loopback import Server, archives_of
from tests.helpers.programs import TINY, Program, good

ALL = TINY | {"train_images": "all", "val_images": "all", "epochs": "1"}


def test_download_verify_report_and_then_auto_takes_it(
    pets: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(archives_of(pets))
    monkeypatch.setattr(OxfordIIITPet, "_RESOURCES", server.resources())
    with contextlib.closing(server):
        done = good(program.entry("prepare", train_images=10, val_images=5))
    assert "examples:  40 in trainval.txt, 10 in test.txt" in done.stdout
    assert "problems:  none" in done.stdout
    assert program.the_run.info.status == "FINISHED"
    assert program.the_run.data.metrics["data/trainval"] == 40
    refused = program.entry("train", train_images="1000")  # which is told before training
    assert refused.stdout.startswith("Data: Oxford-IIIT Pet, prepared in ")
    assert "to choose from" in refused.stderr


def test_train_stops_at_all_offenders_or_leaves_them_out(tmp_path: Path, program: Program) -> None:
    made = cases()
    write(tmp_path / "pets", made)
    listed = {example.id: example for example in read_lists(tmp_path / "pets")["trainval"]}
    looked_at = [case for case in made if case.id in listed and not in_gate(listed[case.id])]
    refused = program.refused(1, "train", **ALL, data=tmp_path / "pets")
    assert program.runs() == []
    skipped = good(program.entry("train", **ALL, data=tmp_path / "pets", bad_examples="skip"))
    kept = program.download(program.the_run.info.run_id, "bad_examples.txt").read_text()
    for text in (refused, skipped.stdout, kept):
        lines = text.splitlines()
        assert [wrong for case in looked_at if (wrong := case.misnamed(lines))] == []
    in_the_gate = [case for case in made if case.id in listed and case not in looked_at]
    bad = sum(bool(case.refusals) for case in in_the_gate)
    assert f"{bad} gate images cannot be used and are left out" in skipped.stdout


@pytest.mark.parametrize("name", ["prepare", "train"])
def test_all_bad_lines_of_both_lists_are_named(own_pets: Path, program: Program, name: str) -> None:
    for part in ("trainval", "test"):
        path = own_pets / "annotations" / f"{part}.txt"
        path.write_text("a_1 1 1 1\na_1 1 1 1\n../b_2 1 1 1\nc_3\nd_4 1 9 1\n")
    told = program.refused(1, name, data=own_pets)
    for part in ("trainval", "test"):
        assert f"4 lines of {part}.txt cannot be used:" in told
        assert re.findall(rf"/{part}\.txt:(\d+): ", told) == ["2", "3", "4", "5"]
    assert told.count("Error: ") == 1
    assert program.runs() == []


@pytest.mark.parametrize("name", ["train", "prepare"])
def test_something_else_in_place_of_the_prepared_data_is_told(program: Program, name: str) -> None:
    (program.cache / "oxford-iiit-pet" / "images").mkdir(parents=True)
    told = program.refused(1, name)
    assert "remove it, then `mlflow run . -e prepare --env-manager local` downloads" in told
    assert len(told.splitlines()) == 1


def test_the_chosen_images_and_binary_masks_can_be_opened(pets: Path, program: Program) -> None:
    output = program.cache.parent / "shown"
    options = {"data": pets, "train_images": 10, "val_images": 5, "output": output}
    good(program.entry("prepare", **options, border="ignore"))
    assert len(list((output / "masks" / "train").iterdir())) == 10
    assert len(list((output / "images" / "val").iterdir())) == 5
    masks = sorted((output / "masks" / "val").iterdir())
    for path in masks:
        trimap = np.asarray(Image.open(pets / "annotations" / "trimaps" / path.name))
        mask = Image.open(path)
        assert np.array_equal(np.asarray(mask), np.array([0, 1, 0, 2])[trimap])
        assert set(np.unique(np.asarray(mask.convert("L")))) == {0, 128, 255}  # as seen
        image = output / "images" / "val" / f"{path.stem}.jpg"
        assert image.read_bytes() == (pets / "images" / image.name).read_bytes()
    assert f"output={output}: exists already" in program.refused(2, "prepare", **options)
