"""Decoded images are kept between runs, never used when damaged, and never needed."""

import os
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segmentation.data.cache import nearest
from segmentation.data.dataset import SplitDataset
from segmentation.errors import DataError
from tests.helpers.quick import loaded

DAMAGED = "cannot be used ("
Damage = Callable[[Path], object]
Log = pytest.LogCaptureFixture


def pixels_of(parts: dict[str, SplitDataset]) -> list[np.ndarray]:
    return [array for part in parts.values() for array in part.pixels.gather(range(len(part)))]


def same(one: dict[str, SplitDataset], other: dict[str, SplitDataset]) -> bool:
    pairs = zip(pixels_of(one), pixels_of(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixels are read when they are used, as those of large splits are."""
    monkeypatch.setattr("segmentation.data.loading.IN_MEMORY", 0)


@pytest.fixture
def files_of_1000_bytes() -> Iterator[None]:
    """Whatever writes more into a file fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_second_run_decodes_nothing_nor_one_that_holds_nothing_in_memory(
    cache: Path, pets: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = loaded(pets)
    assert sorted(decoded) == sorted(e.id for part in first.values() for e in part.examples)
    decoded.clear()
    second = loaded(pets)
    assert decoded == []
    assert same(first, second)
    assert [part.digest for part in first.values()] == [part.digest for part in second.values()]
    monkeypatch.setattr("segmentation.data.loading.IN_MEMORY", 0)
    assert same(first, loaded(pets))
    assert decoded == []


def test_a_changed_file_is_decoded_again(cache: Path, own_pets: Path, decoded: list[str]) -> None:
    changed = loaded(own_pets)["train"].examples[0]
    decoded.clear()
    before = changed.image.stat()
    repaint(changed.image)
    os.utime(changed.image, ns=(before.st_atime_ns, before.st_mtime_ns))  # as if nothing happened
    (image,), _ = loaded(own_pets)["train"].pixels.gather([0])
    assert decoded == [changed.id]
    assert image[..., 0].min() > 240
    assert image[..., 1:].max() < 10


def repaint(path: Path) -> None:
    with Image.open(path) as photo:
        size = photo.size
    Image.new("RGB", size, "red").save(path)


def flipped(path: Path) -> None:
    """Change one bit in the middle, as a failing disk does."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def pickled(path: Path) -> None:
    """NumPy would unpickle what it holds, and so run whatever that says."""
    content: dict[str, Any] = {path.stem: np.array([Path()], dtype=object)}
    np.savez(path, **content)


DAMAGES: dict[str, Damage] = {
    "one bit": flipped,
    "objects": pickled,
    "another example": lambda path: shutil.copy(
        next(other for other in sorted(path.parent.iterdir()) if other != path), path
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_replaced_and_never_used(
    cache: Path, pets: Path, decoded: list[str], damage: Damage, caplog: Log
) -> None:
    first = loaded(pets)
    names = sorted(path.name for path in cache.iterdir())
    damage(cache / names[3])
    decoded.clear()
    assert same(loaded(pets), first)
    assert len(decoded) == 1
    assert [record.getMessage().count(DAMAGED) for record in caplog.records] == [1]
    decoded.clear()
    assert same(loaded(pets), first)
    assert decoded == []
    assert sorted(path.name for path in cache.iterdir()) == names


@pytest.mark.usefixtures("on_disk")
@pytest.mark.parametrize("damage", [flipped, Path.unlink])
def test_what_is_damaged_or_removed_in_use_is_decoded_again(
    cache: Path, pets: Path, decoded: list[str], damage: Damage, caplog: Log
) -> None:
    parts = loaded(pets)
    before = pixels_of(parts)
    for path in cache.iterdir():
        damage(path)
    decoded.clear()
    for _ in range(2):
        assert all(np.array_equal(a, b) for a, b in zip(before, pixels_of(parts), strict=True))
    assert len(decoded) == 17
    assert caplog.text.count(DAMAGED) == (damage is flipped)  # of all only the first


def test_a_file_that_is_changed_in_use_is_said(cache: Path, own_pets: Path, on_disk: None) -> None:
    train = loaded(own_pets)["train"]
    shutil.rmtree(cache)
    repaint(train.examples[0].image)
    with pytest.raises(DataError, match=r"\.jpg: it or its mask was changed .* run again$"):
        train.pixels.gather([0])
    train.examples[0].image.unlink()
    with pytest.raises(DataError, match=r"\.jpg: No such file .*it was usable when this began"):
        train.pixels.gather([0])


@pytest.mark.usefixtures("on_disk", "files_of_1000_bytes")
def test_a_full_disk_stops_no_run(cache: Path, pets: Path, decoded: list[str], caplog: Log) -> None:
    parts = loaded(pets)
    assert len(decoded) == 17
    assert caplog.text.count("decoded images cannot be kept there") == 1
    assert "set PETSEG_CACHE to another folder" in caplog.text
    assert len(pixels_of(parts)[0]) == 5
    assert list(cache.iterdir()) == []


def test_nearest_takes_the_pixel_under_the_center() -> None:
    masks = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert nearest(masks, 2).tolist() == [[5, 7], [13, 15]]
    assert np.array_equal(nearest(masks, 4), masks)
    assert nearest(masks, 8)[0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_other_choices_share_what_was_decoded(cache: Path, pets: Path, decoded: list[str]) -> None:
    loaded(pets)
    first = set(decoded)
    decoded.clear()
    loaded(pets, border="ignore")
    assert decoded == []
    more = loaded(pets, train_images=20)
    assert set(decoded) == {e.id for part in more.values() for e in part.examples} - first
    decoded.clear()
    loaded(pets, image_size=48)
    assert set(decoded) == first


def test_a_cache_that_cannot_be_made_stops_no_run(
    tmp_path: Path, pets: Path, monkeypatch: pytest.MonkeyPatch, caplog: Log
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PETSEG_CACHE", str(tmp_path / "file"))
    assert [len(part) for part in loaded(pets).values()] == [5, 12]
    assert caplog.text.count("decoded images cannot be kept there") == 1
