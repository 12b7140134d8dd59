"""The drawn sample: the same for everybody, in the real layout, and not to be had by color."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmentation.config.training import DataConfig
from segmentation.data.images.examples import BACKGROUND
from segmentation.data.oxford_pets import read_lists
from segmentation.data.prepare.verification import verify
from segmentation.data.sources import resolve_source
from segmentation.data.synthetic import synthetic_folder, write_dataset


def test_the_same_seed_draws_the_same_files_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_dataset(tmp_path / name, 2, 1, seed)
    folders = (tmp_path / name for name in "abc")
    a, b, c = ({path.name: path.read_bytes() for path in one.rglob("*.*")} for one in folders)
    assert a == b
    assert set(a) == set(c)
    assert all(a[name] != c[name] for name in a if name.endswith(".jpg"))


def test_it_passes_the_verification_that_real_data_must_pass(pets: Path) -> None:
    report = verify(resolve_source(DataConfig(source=str(pets))), lambda *_: None)
    assert report.problems == ()
    assert report.counts == {"trainval": 40, "test": 10}
    assert 0.15 < report.pet < 0.45  # 0.28 in real pets
    assert 0.05 < report.border < 0.2  # 0.125 in real pets
    species = {example.species for example in read_lists(pets)["trainval"]}
    assert species == {"cat", "dog"}


def test_no_threshold_on_color_finds_the_pet(pets: Path) -> None:
    pixels, truths = [], []
    for example in read_lists(pets)["trainval"]:
        photo = np.asarray(Image.open(example.image), dtype=int)
        pixels.append(photo.reshape(-1, 3)[::17])
        truths.append((np.asarray(Image.open(example.mask)).ravel() != BACKGROUND)[::17])

    def mean_dice(said: list[np.ndarray]) -> float:
        pairs = zip(said, truths, strict=True)
        return float(np.mean([2 * (s & t).sum() / (s.sum() + t.sum()) for s, t in pairs]))

    floor = mean_dice([np.ones_like(truth) for truth in truths])
    best = max(
        mean_dice([(sign * p[:, channel] > sign * level) for p in pixels])
        for channel in range(3)
        for sign in (1, -1)
        for level in range(15, 250, 15)
    )
    assert best < floor + 0.03


def test_it_is_drawn_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETSEG_CACHE", str(tmp_path))
    monkeypatch.setattr("segmentation.data.synthetic.TRAINVAL", 4)
    monkeypatch.setattr("segmentation.data.synthetic.TEST", 1)
    (tmp_path / ".synthetic-1.partial-old").mkdir()  # what a killed process left
    folder = synthetic_folder()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert synthetic_folder() == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert not list(tmp_path.glob("*partial*"))
