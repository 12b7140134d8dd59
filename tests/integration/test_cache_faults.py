"""Real damage to the file of decoded images, from a flipped bit to two processes that mend it."""

import os
import shutil
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segmentation.config.training import TrainingConfig
from segmentation.data.cache import Entry, PixelStore
from segmentation.data.cache_file import DamagedError
from segmentation.data.dataset import SplitDataset
from segmentation.data.loader import BatchLoader
from segmentation.data.loading import load_splits
from segmentation.data.oxford_pets import read_trainval
from segmentation.data.splits import split
from segmentation.errors import DataError
from segmentation.utils.concurrency import Progress
from tests.helpers.programs import Program
from tests.unit.data.test_cache import pixels_of, same
from tests.unit.data.test_loader import CONFIG, loaded

ENTRY = Entry(pixels=np.random.default_rng(0).bytes(4 * 32**2), pet=2, border=1)
KEYS = [bytes([number]) * 32 for number in range(20)]


@pytest.fixture
def unheld(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixels are read from the store when they are used, as those of large splits are."""
    monkeypatch.setattr("segmentation.data.dataset.IN_MEMORY", 0)


def sql(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def touch(path: Path) -> None:
    """Write to the file as another process does, so that no page in memory is taken for it."""
    sql(path, "PRAGMA user_version = 1")


def is_whole(path: Path) -> bool:
    connection = sqlite3.connect(path)
    found = connection.execute("PRAGMA integrity_check").fetchall()
    connection.close()
    return found == [("ok",)]


# Damage to the first entry that SQLite itself does not notice.


def flipped(path: Path) -> None:
    """Change one bit of each stored picture, as a failing disk does."""
    connection = sqlite3.connect(path)
    stored = [pixels for (pixels,) in connection.execute("SELECT pixels FROM examples")]
    connection.close()
    content = bytearray(path.read_bytes())
    for pixels in stored:
        content[content.index(pixels[2000:2030]) + 15] ^= 1
    path.write_bytes(content)


def shortened(path: Path) -> None:
    sql(path, "UPDATE examples SET pixels = substr(pixels, 1, 3000)")


def nothing(path: Path) -> None:
    schema = "UPDATE sqlite_master SET sql = replace(sql, '{}', '{}') WHERE name = 'examples'"
    sql(path, "PRAGMA writable_schema = ON", schema.format("BLOB NOT NULL", "BLOB"))
    sql(path, "UPDATE examples SET pixels = NULL")
    sql(path, "PRAGMA writable_schema = ON", schema.format("pixels BLOB", "pixels BLOB NOT NULL"))


def text(path: Path) -> None:
    sql(path, "UPDATE examples SET pixels = CAST(x'FFFE' AS TEXT), pet = 'many'")


def of_another(path: Path) -> None:
    """Let keys lead to other examples' rows, as a damaged index does."""
    connection = sqlite3.connect(path)
    keys = [key for (key,) in connection.execute("SELECT key FROM examples")]
    with connection:
        for old, new in zip(keys, keys[1:] + keys[:1], strict=True):
            connection.execute("UPDATE examples SET key = ? WHERE key = ?", (b"-" + new, old))
        connection.execute("UPDATE examples SET key = CAST(substr(key, 2) AS BLOB)")
    connection.close()


ENTRIES = [flipped, shortened, nothing, text, of_another]


@pytest.mark.parametrize("damage", ENTRIES)
def test_entries_that_are_damaged_in_use_are_said_and_mended_next_time(
    cache: Path, pets: Path, unheld: None, decoded: list[str], damage: Callable[[Path], None]
) -> None:
    held = loaded(pets)
    damage(cache)
    touch(cache)
    with pytest.raises(
        DamagedError, match=r"32\.sqlite: .* decoded images? w.* damaged .* run again"
    ):
        held["train"].pixels[0]
    decoded.clear()
    again = loaded(pets)
    assert len(decoded) == 17
    decoded.clear()
    assert same(loaded(pets), again)
    assert decoded == []
    assert is_whole(cache)


def test_damage_between_looking_and_reading_is_mended_at_once(cache: Path, pets: Path) -> None:
    first = loaded(pets)
    assert same(loaded_telling(pets, once(lambda: flipped(cache))), first)
    assert is_whole(cache)


def loaded_telling(folder: Path, progress: Progress) -> dict[str, SplitDataset]:
    parts = split(read_trainval(folder), CONFIG)
    return load_splits({"val": parts.val, "train": parts.train}, {}, CONFIG, progress)


def once(function: Callable[[], None]) -> Progress:
    left = [function]

    def progress(*_: int) -> None:
        if left:
            left.pop()()

    return progress


def test_loader_processes_say_what_is_damaged_without_a_traceback(
    cache: Path, pets: Path, unheld: None
) -> None:
    parts = loaded(pets)
    shortened(cache)
    config = TrainingConfig(batch_size=5, loader_workers=1)
    with pytest.raises(DataError, match=r"^\S*32\.sqlite: a decoded .* run again, .* anew$"):
        list(BatchLoader(parts["train"], parts["val"], config).epoch(1))


# Damage to the whole file.


def dropped(path: Path) -> None:
    sql(path, "DROP TABLE examples")


def another_schema(path: Path) -> None:
    sql(path, "DROP TABLE examples", "CREATE TABLE examples (key TEXT, picture BLOB)")


def unknown_names(path: Path) -> None:
    """Break the schema's text so that SQLite's own message about it is not UTF-8."""
    content = path.read_bytes()
    path.write_bytes(
        content.replace(b"CREATE TABLE examples (", b"CREATE \xff\xfe\xff\xfe\xff exam (", 1)
    )


def prose(path: Path) -> None:
    path.write_text("not a database, but a sentence of some length. " * 100)


def a_word(path: Path) -> None:
    path.write_text("word\n")


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def zeroed(path: Path) -> None:
    """Lose a page of the index, which SQLite takes for one without entries."""
    content = bytearray(path.read_bytes())
    content[8192:12288] = bytes(4096)
    path.write_bytes(content)


IN_USE = [dropped, another_schema, prose, a_word, emptied, zeroed]
FILES = [*IN_USE, unknown_names]


@pytest.mark.parametrize("damage", FILES)
def test_a_file_that_is_no_store_is_made_anew(
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
    assert set(decoded) == {e.id for part in first.values() for e in part.examples}
    assert "32.sqlite: the decoded images were damaged; they are decoded again" in caplog.text
    assert is_whole(cache)


@pytest.mark.parametrize("damage", IN_USE)
def test_a_file_that_is_lost_in_use_is_said_and_made_anew(
    cache: Path, pets: Path, unheld: None, damage: Callable[[Path], None]
) -> None:
    train = loaded(pets)["train"]
    touch(cache)
    damage(cache)
    with pytest.raises(DamagedError, match=r"32\.sqlite: .* were damaged \(.* run again"):
        [train.pixels[position] for position in range(12)]
    assert is_whole(cache)
    assert len(loaded(pets)["train"].pixels.gather(range(12))[0]) == 12


def test_a_folder_in_the_place_of_the_file_is_said_and_left(cache: Path, pets: Path) -> None:
    (cache / "kept").mkdir(parents=True)
    with pytest.raises(DataError, match=r"32\.sqlite: .* cannot be kept there .*set PETSEG_CACHE"):
        loaded(pets)
    assert (cache / "kept").is_dir()


@pytest.mark.parametrize("wrong", [{"pet": None}, {"pixels": object()}])
def test_a_mistake_in_the_code_costs_nobody_the_store(
    cache: Path, wrong: dict[str, object]
) -> None:
    store = PixelStore(32)
    store.add([(KEYS[0], ENTRY)])
    entry = Entry(**{"pixels": ENTRY.pixels, "pet": 1, "border": 1} | wrong)  # type: ignore[arg-type]
    with pytest.raises((sqlite3.IntegrityError, sqlite3.ProgrammingError, TypeError)):
        store.add([(KEYS[1], entry)])
    with pytest.raises(sqlite3.ProgrammingError):
        store.find(object())  # type: ignore[arg-type]
    assert PixelStore(32).find(KEYS[0]) == store.find(KEYS[0]) == ENTRY


_FULL = """
import sys
from pathlib import Path
from segmentation.errors import DataError
from tests.unit.data.test_loader import loaded
from tests.integration.test_cache_faults import is_whole
cache = Path(sys.argv[2])
try:
    loaded(Path(sys.argv[1]))
except DataError as error:
    print(error)
(cache / "filler").unlink()
print(*(len(part) for part in loaded(Path(sys.argv[1])).values()))
print(is_whole(cache / "decoded" / "32.sqlite"))
"""


def test_a_full_disk_is_said_and_no_damage(pets: Path, program: Program) -> None:
    program.cache.mkdir()
    # In a user's own view of the mounts, which goes with the process.
    mount = ("unshare", "-rm", "sh", "-c")
    small = 'mount -t tmpfs -o size=256k petseg "$1"'
    if (
        shutil.which("unshare") is None
        or program.run(*mount, small, "", str(program.cache)).returncode
    ):
        pytest.skip("this machine lets nobody mount a small file system")
    fill = f'{small} && head -c 180000 /dev/zero > "$1/filler" && exec "$2" -c "$3" "$4" "$1"'
    arguments = (str(program.cache), sys.executable, _FULL, str(pets))
    done = program.run(*mount, fill, "", *arguments)
    assert done.returncode == 0, done.stderr
    said, sizes, whole = done.stdout.splitlines()
    assert "32.sqlite: decoded images cannot be kept there (database or disk is full)" in said
    assert "free some space" in said
    assert (sizes, whole) == ("5 12", "True")
    assert done.stderr == ""


# Files that others replace.


def test_a_store_that_another_has_made_anew_is_left_alone(cache: Path, tmp_path: Path) -> None:
    late = PixelStore(32)
    late.add([(key, ENTRY) for key in KEYS])
    os.link(cache, tmp_path / "damaged")
    cache.unlink()
    PixelStore(32).add([(KEYS[0], ENTRY)])
    inode = cache.stat().st_ino
    prose(tmp_path / "damaged")  # the file that the first one has open still
    with pytest.raises(DamagedError):
        list(map(late.read, KEYS))
    assert cache.stat().st_ino == inode
    assert late.read(KEYS[0]).tobytes() == late.find(KEYS[0]).pixels == ENTRY.pixels  # type: ignore[union-attr]


def test_threads_that_meet_one_damaged_file_replace_it_once(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = PixelStore(32)
    store.add([(key, ENTRY) for key in KEYS])
    barrier = threading.Barrier(8, action=lambda: prose(cache))
    found: list[object] = []

    def use() -> None:
        assert store.find(KEYS[0]) == ENTRY
        barrier.wait()
        try:
            found.append(store.find(KEYS[0]))
        except DamagedError:
            found.append(None)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [None] * 8
    assert caplog.text.count("were damaged; they are decoded again") == 1
    assert is_whole(cache)


def another(path: Path) -> None:
    path.unlink()
    PixelStore(32)


def removed(path: Path) -> None:
    shutil.rmtree(path.parent)


@pytest.mark.parametrize("change", [another, removed])
def test_a_store_that_is_replaced_while_it_is_filled_is_filled_anew(
    cache: Path,
    pets: Path,
    unheld: None,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], None],
) -> None:
    first = pixels_of(loaded(pets))
    monkeypatch.setattr("segmentation.data.loading._AT_ONCE", 4)
    again = pixels_of(loaded_telling(pets, once(lambda: change(cache))))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    connection = sqlite3.connect(cache)
    assert connection.execute("SELECT COUNT(*) FROM examples").fetchone() == (17,)
    connection.close()


def test_a_store_goes_on_in_a_folder_that_was_removed(cache: Path) -> None:
    store = PixelStore(32)
    for _ in range(2):
        removed(cache)
        with pytest.raises(DamagedError, match=r"32\.sqlite: it was replaced .* run again"):
            store.add([(KEYS[0], ENTRY)])
        store.add([(KEYS[0], ENTRY)])
        assert store.find(KEYS[0]) == PixelStore(32).find(KEYS[0]) == ENTRY


_TWO = """
import hashlib, itertools, sys, time
from pathlib import Path
from segmentation.data import dataset as decoded_splits
from tests.unit.data.test_loader import loaded
from tests.unit.data.test_cache import pixels_of
from tests.integration.test_cache_faults import FILES, is_whole
pets, meeting, who, path = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
decoded_splits.IN_MEMORY = 0
moments = itertools.count()
def meet():
    moment = next(moments)
    (meeting / f"{moment}-{who}").touch()
    deadline = time.monotonic() + 60
    while not all((meeting / f"{moment}-{other}").exists() for other in "ab"):
        assert time.monotonic() < deadline
def digest():
    pixels = pixels_of(loaded(pets))
    return hashlib.sha256(b"".join(one.tobytes() for one in pixels)).hexdigest()
right = digest()
for damage in FILES * 2:
    meet()
    if who == "a":
        damage(path)
    meet()
    assert digest() == right, damage
    meet()
    assert is_whole(path), damage
    assert digest() == right, damage
print(right)
"""


def test_two_processes_that_meet_one_damaged_store_both_end_with_right_pixels(
    cache: Path, pets: Path, program: Program
) -> None:
    meeting = cache.parent.parent.parent / "meeting"
    meeting.mkdir()
    arguments = (str(pets), str(meeting))
    processes = [
        program.start(sys.executable, "-c", _TWO, *arguments, who, str(cache)) for who in "ab"
    ]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert len({output for output, _ in outputs}) == 1
    assert all("Traceback" not in error for _, error in outputs)
    assert all(
        "were damaged; they are decoded again" in line
        for _, error in outputs
        for line in error.splitlines()
    )
