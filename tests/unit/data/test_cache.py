"""Decoded images are kept between runs, noticed when damaged, and shared by processes."""

import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmentation.data import dataset as decoded_splits
from segmentation.data.cache import Entry, PixelStore
from segmentation.data.dataset import SplitDataset
from segmentation.errors import DataError
from tests.helpers.programs import Program
from tests.unit.data.test_loader import loaded


def pixels_of(parts: dict[str, SplitDataset]) -> list[np.ndarray]:
    return [array for part in parts.values() for array in part.pixels.gather(range(len(part)))]


def same(one: dict[str, SplitDataset], other: dict[str, SplitDataset]) -> bool:
    pairs = zip(pixels_of(one), pixels_of(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_a_second_run_decodes_nothing(cache: Path, pets: Path, decoded: list[str]) -> None:
    first = loaded(pets)
    assert sorted(decoded) == sorted(e.id for part in first.values() for e in part.examples)
    decoded.clear()
    second = loaded(pets)
    assert decoded == []
    assert same(first, second)
    assert [part.digest for part in first.values()] == [part.digest for part in second.values()]


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


def test_a_changed_file_is_decoded_again(cache: Path, own_pets: Path, decoded: list[str]) -> None:
    changed = loaded(own_pets)["train"].examples[0]
    decoded.clear()
    before = changed.image.stat()
    with Image.open(changed.image) as photo:
        size = photo.size
    Image.new("RGB", size, "red").save(changed.image)
    os.utime(changed.image, ns=(before.st_atime_ns, before.st_mtime_ns))  # as if nothing happened
    image, _ = loaded(own_pets)["train"].pixels[0]
    assert decoded == [changed.id]
    assert image[..., 0].min() > 240
    assert image[..., 1:].max() < 10


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbage(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(100_000))


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    """Change one byte in the middle of a stored picture, as a failing disk does."""
    with sqlite3.connect(path) as connection:
        (pixels,) = connection.execute("SELECT pixels FROM examples LIMIT 1").fetchone()
    connection.close()
    content = bytearray(path.read_bytes())
    content[content.index(pixels[2000:2030]) + 15] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, garbage, emptied, flipped])
def test_a_damaged_store_is_noticed_and_made_again(
    cache: Path,
    pets: Path,
    decoded: list[str],
    damage: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = loaded(pets)
    damage(cache)
    decoded.clear()
    assert same(loaded(pets), first)
    assert len(decoded) == (1 if damage is flipped else 17)
    assert damage is emptied or "damaged" in caplog.text
    decoded.clear()
    assert same(loaded(pets), first)
    assert decoded == []


def test_what_does_not_fit_into_memory_is_read_as_it_is_needed(
    cache: Path, pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = loaded(pets)
    monkeypatch.setattr("segmentation.data.dataset.IN_MEMORY", 0)
    unheld = loaded(pets)
    assert same(held, unheld)
    examples = unheld["val"].examples
    files = [(example.image.read_bytes(), example.trimap.read_bytes()) for example in examples]
    assert [unheld["val"].files[example] for example in examples] == files


def test_an_image_that_vanishes_in_use_is_said(
    cache: Path, pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segmentation.data.dataset.IN_MEMORY", 0)
    train = loaded(pets)["train"]
    with sqlite3.connect(cache) as connection:
        connection.execute("DELETE FROM examples")
    connection.close()
    with pytest.raises(DataError, match=r"32\.sqlite: a decoded image has gone .* run again"):
        train.pixels[0]


def test_a_store_that_is_damaged_in_use_is_said(
    cache: Path, pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segmentation.data.dataset.IN_MEMORY", 0)
    train = loaded(pets)["train"]
    garbage(cache)
    with pytest.raises(
        DataError, match=r"32\.sqlite: the decoded images were damaged .* run again"
    ):
        train.pixels[0]
    assert len(loaded(pets)["train"].pixels) == 12


def test_a_cache_that_cannot_be_made_is_said(
    tmp_path: Path, pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PETSEG_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot be kept there .*set PETSEG_CACHE"):
        loaded(pets)


def test_an_entry_comes_back_as_it_was(cache: Path) -> None:
    store = PixelStore(2)
    entry = Entry(pixels=bytes(range(12)) + bytes([1, 2, 3, 1]), pet=2, border=1)
    key = store.key((b"image", b"trimap"))
    assert store.find(key) is None
    store.add([(key, entry)])
    assert store.find(key) == entry
    assert key != store.key((b"imaget", b"rimap"))
    image, flags = decoded_splits.PixelArray(store, [key], "ignore")[0]
    assert image.tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]
    assert flags.tolist() == [[3, 2], [0, 3]]


_LOAD = """
import sys
from pathlib import Path
from tests.unit.data.test_loader import loaded
parts = loaded(Path(sys.argv[1]))
print(*(part.digest for part in parts.values()))
"""


def test_processes_that_fill_one_store_at_once_agree(cache: Path, pets: Path) -> None:
    program = Program(cache.parent.parent.parent, cache.parent.parent)
    command = (sys.executable, "-c", _LOAD, str(pets))
    processes = [program.start(*command) for _ in range(4)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs
    assert {error for _, error in outputs} == {""}
    assert len({output for output, _ in outputs}) == 1
    connection = sqlite3.connect(cache)
    assert connection.execute("SELECT COUNT(*) FROM examples").fetchone() == (17,)
    connection.close()
