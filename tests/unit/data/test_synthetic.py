"""The drawn sample: the same for everybody, in the real layout, and not to be had by color."""

from pathlib import Path

import pytest

from segmentation.data.oxford_pets import read_list
from segmentation.data.prepare.verification import verify
from segmentation.data.synthetic.dataset import synthetic_folder, write_dataset


def test_the_same_seed_draws_the_same_files_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_dataset(tmp_path / name, 2, 1, seed)
    a, b, c = (
        {
            str(path.relative_to(tmp_path / name)): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in "abc"
    )
    assert a == b
    assert set(a) == set(c)
    assert all(a[name] != c[name] for name in a if name.endswith(".jpg"))


def test_it_passes_the_verification_that_real_data_must_pass(pets: Path) -> None:
    report = verify(pets, lambda *_: None)
    assert report.problems == ()
    assert report.counts == {"trainval": 40, "test": 10}
    assert 0.15 < report.pet < 0.45  # 0.28 in real pets
    assert 0.05 < report.border < 0.2  # 0.125 in real pets
    species = {example.species for example in read_list(pets, "trainval")}
    assert species == {"cat", "dog"}


def test_it_is_drawn_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETSEG_CACHE", str(tmp_path))
    monkeypatch.setattr("segmentation.data.synthetic.dataset.TRAINVAL", 4)
    monkeypatch.setattr("segmentation.data.synthetic.dataset.TEST", 1)
    (tmp_path / ".synthetic-1.partial-old").mkdir()  # what a killed process left
    folder = synthetic_folder()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert synthetic_folder() == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert not list(tmp_path.glob("*partial*"))
