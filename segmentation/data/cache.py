"""What was decoded, kept on disk: one SQLite file for each working size, shared by all runs.

An example is kept under a key made of the contents of its two files, so it cannot go stale: changed
files have another key. Each entry carries a checksum, looked at whenever it is read: what fails it
is decoded again.
"""

import dataclasses
import hashlib
import logging
import zlib
from collections.abc import Iterable

import numpy as np
import PIL
import torch
from numpy.typing import NDArray

from segmentation.data.cache_file import DamagedError, PixelFile
from segmentation.utils.paths import cache_folder

_LAYOUT = 2  # raised when what is stored changes
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


class PixelStore:
    """The examples that were decoded to one size."""

    def __init__(self, size: int) -> None:
        """Open it, or make it.

        Args:
            size: height and width, in pixels.

        Raises:
            DataError: the cache folder cannot be written.
            DamagedError: the file was damaged; an empty one stands there now.
        """
        self.size = size
        self.path = cache_folder() / "decoded" / f"{size}.sqlite"
        self._file = PixelFile(self.path)

    def key(self, files: tuple[bytes, bytes]) -> bytes:
        """Return the key of an example, 32 bytes, from the contents of image and trimap."""
        # How files become pixels depends on these libraries too.
        made_by = f"{_LAYOUT} {PIL.__version__} {torch.__version__} {self.size}"
        parts = (made_by.encode(), *files)
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()

    def find(self, key: bytes) -> Entry | None:
        """Return an example, or None if it is not there or damaged.

        Raises:
            DataError: the file cannot be read.
            DamagedError: the whole file was damaged; an empty one stands there now.
        """
        row = self._file.row(key)
        if row is None:
            return None
        if not self._sound(key, *row):
            _log.warning(
                "%s: a decoded image was damaged; it is decoded again from its file", self.path
            )
            return None
        _, pet, border, pixels = row
        return Entry(pixels=pixels, pet=pet, border=border)

    def add(self, entries: Iterable[tuple[bytes, Entry]]) -> None:
        """Keep examples, in one transaction: all of them or none.

        Raises:
            DataError: the file cannot be written, or the disk is full.
            DamagedError: it was damaged or replaced, so what was added or found before may have
                gone; this is noticed also where there is nothing to add.
        """
        self._file.add([_row(key, entry) for key, entry in entries])

    def read(self, key: bytes) -> NDArray[np.uint8]:
        """Return the pixels of an example that is there: uint8 (4 * S * S,), not writable.

        Raises:
            DataError: the file cannot be read.
            DamagedError: it is damaged, or not there any more.
        """
        row = self._file.row(key)
        while row is None or not self._sound(key, *row):
            if not self._file.reopened():
                self._file.examine()
                what = "has gone from it" if row is None else "was damaged"
                raise DamagedError(
                    f"{self.path}: a decoded image {what} while it was in use; run again, it is "
                    "decoded anew"
                )
            row = self._file.row(key)
        return np.frombuffer(row[3], np.uint8)

    def _sound(
        self, key: bytes, checksum: object, pet: object, border: object, pixels: object
    ) -> bool:
        """Tell whether a row is as it was written."""
        return (
            isinstance(pixels, bytes)
            and len(pixels) == 4 * self.size**2
            and checksum == _checksum(key, pixels, pet, border)
        )


def _row(key: bytes, entry: Entry) -> tuple[bytes, int, int, int, bytes]:
    checksum = _checksum(key, entry.pixels, entry.pet, entry.border)
    return key, checksum, entry.pet, entry.border, entry.pixels


def _checksum(key: bytes, pixels: bytes, pet: object, border: object) -> int:
    """Return what tells damage; with the key, as a damaged index leads to another key's row."""
    return zlib.crc32(pixels, zlib.crc32(key + f"{len(pixels)} {pet} {border}".encode()))
