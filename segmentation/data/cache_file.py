"""The SQLite file under the pixel store, which threads and processes share.

It can be made anew at any time, so a damaged file is replaced by an empty one. That one is laid
down whole, under another name, and only where the damaged one still stands, which its inode tells:
what another process has put there meanwhile is left alone. Who writes and who replaces hold one
lock, so no transaction is cut and no journal meets another file than its own. Who has the file open
shows it, so that whoever tidies up leaves it alone.
"""

import contextlib
import dataclasses
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from segmentation.errors import DataError
from segmentation.utils.locks import SharedLock, exclusive

_WAIT = 120.0  # seconds, for another process that writes
_TABLE = (  # as SQLite itself writes it
    "CREATE TABLE examples (key BLOB PRIMARY KEY, checksum INTEGER NOT NULL, "
    "pet INTEGER NOT NULL, border INTEGER NOT NULL, pixels BLOB NOT NULL)"
)
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
# Of the errors of input and output only these: others are a quota's or a network's.
_PARTS_GONE = {
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_DELETE_NOENT,
    sqlite3.SQLITE_READONLY_DBMOVED,
}
# What SQLITE_ERROR says if the statements are right and the file has changed under them.
_CHANGED = ("no such ", "table examples has ", "unsupported file format")
_UNUSABLE = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_IOERR,
}
_log = logging.getLogger(__name__)


class DamagedError(DataError):
    """What was kept is damaged or gone; who loads it once more has it made anew."""


class _WrongError(sqlite3.DatabaseError):
    """The file is a database, but not what it ought to be."""

    sqlite_errorcode = sqlite3.SQLITE_NOTADB


@dataclasses.dataclass(frozen=True)
class _Opened:
    inode: tuple[int, int] | None
    connection: sqlite3.Connection
    use: SharedLock


class PixelFile:
    """Rows of key, checksum, pet, border and pixels; each thread has a connection of its own."""

    path: Path
    _threads: threading.local
    _first: tuple[int, int] | None  # the inode that was opened first, since it was last forgotten

    def __init__(self, path: Path) -> None:
        """Open it, or make it.

        Args:
            path: absolute; folders above it are made.

        Raises:
            DataError: it cannot be made or read there.
            DamagedError: it was damaged; an empty one stands there now.
        """
        self.__setstate__({"path": path})
        with self._guarded():
            self._opened()

    def __getstate__(self) -> dict[str, object]:
        """Leave connections behind: another process opens its own."""
        return {"path": self.path}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _threads=threading.local(), _first=None)

    def row(self, key: bytes) -> tuple[Any, ...] | None:
        """Return checksum, pet, border and pixels, of whatever type damage has made them.

        Raises:
            DataError: the file cannot be read.
            DamagedError: it was damaged; an empty one stands there now.
        """
        query = "SELECT checksum, pet, border, pixels FROM examples WHERE key = ?"
        with self._guarded():
            row: tuple[Any, ...] | None
            row = self._opened().connection.execute(query, (key,)).fetchone()
        return row

    def add(self, rows: Sequence[tuple[object, ...]]) -> None:
        """Write rows, in one transaction: all of them or none.

        Without rows it still makes sure that the file is the one that was opened first: what was
        found and added since then is there.

        Raises:
            DataError: the file cannot be written, or the disk is full.
            DamagedError: it was damaged, or another one has taken its place.
        """
        statement = "INSERT OR REPLACE INTO examples VALUES (?, ?, ?, ?, ?)"
        with self._guarded():
            opened = self._opened()  # not under the lock, which making a new file takes as well
            self._require_in_place(opened)
            if rows:
                with _lock(self.path):
                    self._require_in_place(opened)
                    with opened.connection:
                        opened.connection.executemany(statement, rows)

    def _require_in_place(self, opened: _Opened) -> None:
        # Whoever opened the first one has it open still, so no other file has got its inode.
        if not self._first == opened.inode == self._inode():
            self._forget()
            raise DamagedError(f"{self.path}: it was replaced while it was in use; run again")

    def reopened(self) -> bool:
        """Tell whether another file stands there than this thread has open; open that one."""
        with self._guarded():
            if self._inode() in (None, self._opened().inode):
                return False
            self._forget()
            self._opened()
        return True

    def examine(self) -> None:
        """Look through the whole file, which takes its time, for damage that SQLite bears with.

        Raises:
            DamagedError: it was damaged; an empty one stands there now.
        """
        with self._guarded():
            found = self._opened().connection.execute("PRAGMA integrity_check(1)").fetchone()
            if found != (b"ok",):
                raise _WrongError(found[0].decode(errors="replace").replace("\n", " "))

    def _opened(self) -> _Opened:
        """Return this thread's connection."""
        opened: _Opened | None = getattr(self._threads, "opened", None)
        if opened is None:
            use = SharedLock(self.path)
            if self._inode() is None:
                self._replace(None)
            inode = self._inode()  # before it is opened: a later one's would hide a replacement
            address = f"{self.path.as_uri()}?mode=rw"  # makes no file of its own, without a table
            connection = sqlite3.connect(address, timeout=_WAIT, uri=True)
            connection.text_factory = bytes  # damage can turn anything into text, even into none
            opened = self._threads.opened = _Opened(inode, connection, use)
            self._first = self._first or inode
            query = "SELECT sql FROM sqlite_master WHERE name = 'examples'"
            if connection.execute(query).fetchall() != [(_TABLE.encode(),)]:
                raise _WrongError("it is another program's")
        return opened

    def _forget(self) -> None:
        """Let this thread open the file anew."""
        vars(self._threads).pop("opened", None)
        self._first = None

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn what SQLite says into an error for people; replace the file if it is damaged."""
        try:
            try:
                yield
            except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter: of a broken message
                opened = getattr(self._threads, "opened", None)
                self._forget()
                if opened is None or not _tells_damage(error):
                    raise
                self._replace(opened.inode)  # while it is open, no other file has its inode
                raise DamagedError(
                    f"{self.path}: the decoded images were damaged ({error}); run again, they are "
                    "made anew"
                ) from error
        except (OSError, sqlite3.Error) as error:
            if isinstance(error, sqlite3.Error) and _code(error) & 0xFF not in _UNUSABLE:
                raise
            raise DataError(
                f"{self.path}: decoded images cannot be kept there ({error}); free some space or "
                "make it writable, or set PETSEG_CACHE to another folder"
            ) from error

    def _replace(self, damaged: tuple[int, int] | None) -> None:
        """Put an empty file in the place of one, or of none, unless another process has done so."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _lock(self.path):
            if self._inode() != damaged:
                return
            new = _new(self.path)
            new.unlink(missing_ok=True)  # of a process that was killed here
            with contextlib.closing(sqlite3.connect(new)) as connection:
                connection.execute("PRAGMA journal_mode = OFF")
                connection.execute(_TABLE)
            # First of all: what they hold of the old file must not be played into the new one.
            for journal in _journals(self.path):
                journal.unlink(missing_ok=True)
            os.replace(new, self.path)
            if damaged is not None:
                _log.warning(
                    "%s: the decoded images were damaged; they are decoded again from their files",
                    self.path,
                )

    def _inode(self) -> tuple[int, int] | None:
        """Return what tells the file at the path from others; None if there is none."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino


def parts_of(path: Path) -> list[Path]:
    """Return a store's file and what may lie beside it, but for the locks, which are empty."""
    return [path, *_journals(path), _new(path)]


def remove_unused(path: Path) -> bool:
    """Remove a store, unless somebody has it open; return whether it was removed."""
    with exclusive(path) as free:
        if not (free and path.exists()):
            return False
        with _lock(path):
            for part in reversed(parts_of(path)):  # the journals first, as above
                part.unlink(missing_ok=True)
    return True


def _lock(path: Path) -> contextlib.AbstractContextManager[object]:
    """Return what who writes holds, and who replaces or removes the file."""
    lock = FileLock(path.with_suffix(".lock"))
    return lock.acquire(timeout=_WAIT, poll_interval=0.01)


def _journals(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in ("-journal", "-wal", "-shm")]


def _new(path: Path) -> Path:
    """Return where a file is made before it takes the place of another."""
    return path.with_name(f".{path.name}.new")


def _tells_damage(error: Exception) -> bool:
    code = _code(error)
    return (
        isinstance(error, UnicodeDecodeError)
        or code & 0xFF in _DAMAGE
        or code in _PARTS_GONE
        or (code == sqlite3.SQLITE_ERROR and str(error).startswith(_CHANGED))
    )


def _code(error: Exception) -> int:
    """Return SQLite's extended code; 0 if the error is Python's."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code
