"""Where studies are kept: an SQLite file on this machine, or PostgreSQL for several machines."""

import contextlib
import dataclasses
import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from filelock import FileLock
from optuna.storages import RDBStorage

from segmentation.errors import TrackingError, first_line

#: A trial counts as lost after this many missed heartbeats.
_MISSED = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyLocation:
    """Where one study is kept; can be sent to another process."""

    name: str
    address: str  # an SQLite file's absolute path, or an address `postgresql://...`
    heartbeat: int  # seconds between the heartbeats of a trial that runs

    @property
    def shared(self) -> bool:
        """Whether other machines can reach it."""
        return self.address.startswith("postgresql")

    @property
    def url(self) -> str:
        return self.address if self.shared else f"sqlite:///{self.address}"


def study_location(name: str, storage: str, folder: Path, heartbeat: int) -> StudyLocation:
    """Say where a study is kept: at an address `postgresql://...`, or for `file` in a folder."""
    address = str(folder.absolute() / f"{name}.db") if storage == "file" else storage
    return StudyLocation(name=name, address=address, heartbeat=heartbeat)


@contextlib.contextmanager
def verbosity_kept() -> Iterator[None]:
    """Let Optuna say afterwards what it did before: a notebook may have studies of its own."""
    before = optuna.logging.get_verbosity()
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def open_storage(location: StudyLocation) -> RDBStorage:
    """Open the storage, making it where it is new.

    Raises:
        TrackingError: it cannot be reached, read or written.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # Optuna calls heartbeats experimental, and means them for `optimize`; `Study` says why we ask
    # and tell.
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    warnings.filterwarnings("ignore", "Heartbeat of storage is supposed to be used with")
    try:
        with study_lock(location, "tables"):  # several that make the tables at once collide
            if not location.shared:  # SQLite then writes in half the time, while others read
                with _engine(location).connect() as connection:
                    connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            return RDBStorage(
                location.url,
                engine_kwargs=_engine_options(location),
                heartbeat_interval=location.heartbeat,
                grace_period=_MISSED * location.heartbeat,
            )
    except (
        OSError,
        RuntimeError,  # another version of Optuna has made the tables
        sqlalchemy.exc.SQLAlchemyError,
        optuna.exceptions.StorageInternalError,
    ) as error:
        reason = first_line(error.__cause__ or error)[:300]
        raise TrackingError(
            f"the study's storage {location.address} cannot be used ({reason}); start the server, "
            "make the folder writable or restore the file, or give another `storage` or `study`"
        ) from error


@contextlib.contextmanager
def study_lock(location: StudyLocation, scope: str) -> Iterator[None]:
    """Let one process at a time, of all that share a storage, do what is done in this scope.

    The system or the server takes the lock back when this process or its machine vanishes. It
    cannot be taken twice. In a file one lock serves all scopes.
    """
    if not location.shared:
        path = Path(location.address)
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            yield
        return
    digest = hashlib.sha256(f"petseg {scope}".encode()).digest()
    key = int.from_bytes(digest[:8], "big", signed=True)
    with _engine(location).begin() as connection:
        connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_xact_lock(key)))
        yield


def _engine(location: StudyLocation) -> sqlalchemy.Engine:
    return sqlalchemy.create_engine(location.url, **_engine_options(location))


def _engine_options(location: StudyLocation) -> dict[str, Any]:
    connect_args: dict[str, Any] = {"timeout": 60}  # seconds, while another process writes
    if location.shared:
        # So that the server notices within a minute that the machine which holds a lock is gone.
        keepalives = "-c tcp_keepalives_idle=20 -c tcp_keepalives_interval=10"
        connect_args = {"connect_timeout": 10, "options": f"{keepalives} -c tcp_keepalives_count=3"}
    # Some calls an epoch: no connection needs to be held open between them.
    return {"poolclass": sqlalchemy.NullPool, "connect_args": connect_args}
