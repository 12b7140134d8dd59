"""What was decoded, kept on disk: one SQLite file for each working size, shared by all runs.

An example is kept under a key made of the contents of its two files, so it cannot go stale: changed
files have another key. Each entry carries a checksum; what fails it counts as not there.
"""

import contextlib
import dataclasses
import hashlib
import logging
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import PIL
import torch
from filelock import FileLock
from numpy.typing import NDArray

from segmentation.errors import DataError
from segmentation.paths import cache_folder

_LAYOUT = 1  # raised when what is stored changes
_WAIT = 120.0  # seconds, for another process that writes
_TABLE = (
    "CREATE TABLE IF NOT EXISTS examples (key BLOB PRIMARY KEY, checksum INTEGER NOT NULL, "
    "pet INTEGER NOT NULL, border INTEGER NOT NULL, pixels BLOB NOT NULL)"
)
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """A decoded example.

    Attributes:
        pixels: uint8 (4, S, S) as bytes: RGB as (S, S, 3), then the trimap as (S, S).
        pet: pixels of value 1 in that trimap.
        border: pixels of value 3 in it.
    """

    pixels: bytes
    pet: int
    border: int


class DamagedError(DataError):
    """The file is no longer a database; it has been removed."""


class PixelStore:
    """The examples that were decoded to one size."""

    def __init__(self, size: int) -> None:
        """Open it, or make it.

        Args:
            size: height and width, in pixels.

        Raises:
            DataError: the cache folder cannot be written.
        """
        self.size = size
        folder = cache_folder() / "decoded"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(folder, error) from error
        self.path = folder / f"{size}.sqlite"
        self._threads = threading.local()
        with self.guarded(), self._connection() as connection:
            connection.execute(_TABLE)

    def __getstate__(self) -> dict[str, object]:
        """Leave connections behind: another process opens its own."""
        return {"size": self.size, "path": self.path}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _threads=threading.local())

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn what SQLite says into an error for people; remove a file that is none of its own.

        Raises:
            DataError: the folder cannot be written, or the disk is full.
            DamagedError: the file was damaged and is gone now.
        """
        try:
            yield
        except sqlite3.OperationalError as error:
            raise _unusable(self.path, error) from error
        except sqlite3.DatabaseError as error:
            self._remove()
            raise DamagedError(
                f"{self.path}: the decoded images were damaged ({error}); run again, they are made "
                "anew"
            ) from error

    def key(self, files: tuple[bytes, bytes]) -> bytes:
        """Return the key of an example, 32 bytes, from the contents of image and trimap."""
        # How files become pixels depends on these libraries too.
        made_by = f"{_LAYOUT} {PIL.__version__} {torch.__version__} {self.size}"
        parts = (made_by.encode(), *files)
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()

    def find(self, key: bytes) -> Entry | None:
        """Return an example, or None if it is not there or damaged."""
        with self._connection() as connection:
            row = connection.execute(
                "SELECT checksum, pet, border, pixels FROM examples WHERE key = ?", (key,)
            ).fetchone()
        if row is None:
            return None
        checksum, pet, border, pixels = row
        if checksum != _checksum(pixels, pet, border):
            _log.warning(
                "%s: a decoded image was damaged; it is decoded again from its file", self.path
            )
            return None
        return Entry(pixels=pixels, pet=pet, border=border)

    def add(self, entries: Iterable[tuple[bytes, Entry]]) -> None:
        """Keep examples, in one transaction: all of them or none."""
        rows = [
            (key, _checksum(one.pixels, one.pet, one.border), one.pet, one.border, one.pixels)
            for key, one in entries
        ]
        with self._connection() as connection:
            connection.executemany("INSERT OR REPLACE INTO examples VALUES (?, ?, ?, ?, ?)", rows)

    def read(self, key: bytes) -> NDArray[np.uint8]:
        """Return the pixels of an example that is there: uint8 (4 * S * S,), not writable.

        Raises:
            DataError: it is not there any more.
        """
        with self.guarded(), self._connection() as connection:
            row = connection.execute("SELECT pixels FROM examples WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise DataError(
                f"{self.path}: a decoded image has gone from it while it was in use; run again"
            )
        return np.frombuffer(row[0], np.uint8)

    def _connection(self) -> sqlite3.Connection:
        """Return this thread's connection."""
        if not hasattr(self._threads, "connection"):
            self._threads.connection = sqlite3.connect(self.path, timeout=_WAIT)
        connection: sqlite3.Connection = self._threads.connection
        return connection

    def _remove(self) -> None:
        """Remove the file, so that it is made anew."""
        with FileLock(self.path.with_suffix(".lock")):
            _log.warning(
                "%s: the decoded images were damaged; they are decoded again from their files",
                self.path,
            )
            for suffix in ("", "-journal"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        self._threads = threading.local()


def _checksum(pixels: bytes, pet: int, border: int) -> int:
    return zlib.crc32(pixels, zlib.crc32(f"{len(pixels)} {pet} {border}".encode()))


def _unusable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path}: decoded images cannot be kept there ({error}); free some space or make it "
        "writable, or set PETSEG_CACHE to another folder"
    )
