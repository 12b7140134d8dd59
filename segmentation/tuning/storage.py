"""Where studies are kept: a journal file on this machine, or PostgreSQL for many machines."""

import contextlib
import dataclasses
import hashlib
import os
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from filelock import FileLock, Timeout
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from segmentation.errors import TrackingError

#: Of the heartbeats of a trial so many may be missing before its machine counts as lost.
_MISSED = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyLocation:
    """Where one study is kept; can be sent to another process.

    Attributes:
        name: the study's.
        address: a journal file's absolute path, or an address `postgresql://...`.
        heartbeat: seconds between the signs of life that a machine gives in PostgreSQL.
    """

    name: str
    address: str
    heartbeat: int

    @property
    def shared(self) -> bool:
        """Whether other machines can reach it."""
        return self.address.startswith("postgresql")


def study_location(name: str, storage: str, folder: Path, heartbeat: int) -> StudyLocation:
    """Say where a study is kept.

    Args:
        name: of the study; letters, digits, '.', '_' and '-'.
        storage: `file`, or an address `postgresql://...`.
        folder: holds the journal files.
        heartbeat: seconds between signs of life.
    """
    address = str(folder.absolute() / f"{name}.journal") if storage == "file" else storage
    return StudyLocation(name=name, address=address, heartbeat=heartbeat)


def open_storage(place: StudyLocation) -> BaseStorage:
    """Open the storage, making it where it is new.

    Raises:
        TrackingError: it cannot be reached or written.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # Optuna calls heartbeats and journals experimental; they are what it offers for this.
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    try:
        if not place.shared:
            path = Path(place.address)
            path.parent.mkdir(parents=True, exist_ok=True)
            lock: Any = _JournalLock(path)
            lock.acquire()
            lock.release()
            return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
        with _advisory_lock(place, "tables"):  # several that make the tables at once collide
            return RDBStorage(
                place.address,
                # Some calls an epoch: no connection needs to be held open between them.
                engine_kwargs={
                    "connect_args": {"connect_timeout": 10},
                    "poolclass": sqlalchemy.NullPool,
                },
                heartbeat_interval=place.heartbeat,
                grace_period=_MISSED * place.heartbeat,
            )
    except (OSError, ImportError, sqlalchemy.exc.SQLAlchemyError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:300]
        raise TrackingError(
            f"the study's storage {place.address} cannot be used ({reason}); start the server or "
            "make the folder writable, or give another `storage`"
        ) from error
    except (ValueError, KeyError) as error:  # what Optuna says of a line that it cannot read
        raise TrackingError(
            f"the study's storage {place.address} is damaged ({error}); restore it from a copy, or "
            "give another `study`"
        ) from error


@contextlib.contextmanager
def study_lock(place: StudyLocation) -> Iterator[None]:
    """Let one process at a time, of all that share the study, decide what is done next."""
    if place.shared:
        with _advisory_lock(place, place.name):
            yield
    else:
        with FileLock(f"{place.address}.claim"):
            yield


class WorkerLock:
    """Shows that this process lives, by a lock that the system takes back when it dies.

    Where the study is shared among machines, Optuna's heartbeats show it instead.
    """

    def __init__(self, place: StudyLocation) -> None:
        """Begin to show it."""
        self.id = uuid.uuid4().hex
        self._lock: FileLock | None = None
        if not place.shared:
            self._path = _presences(place) / self.id
            with study_lock(place):  # or others would sweep it away before it is locked
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._lock = FileLock(self._path)
                self._lock.acquire()

    def close(self) -> None:
        """End it."""
        if self._lock is not None:
            self._path.unlink(missing_ok=True)
            self._lock.release()


def live_workers(place: StudyLocation) -> set[str]:
    """Return the ids of the processes that live; for who holds the lock of a study in a file.

    What dead ones have left is swept away.
    """
    alive = set()
    for path in _presences(place).glob("*"):
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            alive.add(path.name)
        else:
            path.unlink(missing_ok=True)
            lock.release()
    return alive


def _presences(place: StudyLocation) -> Path:
    return Path(f"{place.address}.alive")


class _JournalLock:
    """The journal's own lock, by the system: Optuna's outlives a killed process for 30 s."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, FileLock(f"{path}.lock")

    def acquire(self) -> bool:
        self._lock.acquire()
        _cut_torn_line(self._path)
        return True

    def release(self) -> None:
        self._lock.release()


def _cut_torn_line(path: Path) -> None:
    """Drop what a full disk or a power cut left of a last line.

    Nothing could read it, and whatever were written behind it would be lost with it.
    """
    if not path.exists() or not path.stat().st_size:
        return
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)


@contextlib.contextmanager
def _advisory_lock(place: StudyLocation, what: str) -> Iterator[None]:
    """Hold a lock of PostgreSQL's; it is released when this process or machine vanishes."""
    key = int.from_bytes(hashlib.sha256(f"petseg {what}".encode()).digest()[:8], "big", signed=True)
    engine = sqlalchemy.create_engine(
        place.address,
        poolclass=sqlalchemy.NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args={
            "connect_timeout": 10,
            # So that the server notices within a minute that the holder's machine is gone.
            "options": "-c tcp_keepalives_idle=20 -c tcp_keepalives_interval=10 "
            "-c tcp_keepalives_count=3",
        },
    )
    with engine.connect() as connection:
        connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_lock(key)))
        try:
            yield
        finally:
            with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError):  # gone with the connection
                connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_unlock(key)))
