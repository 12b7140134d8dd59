"""Where studies are kept: a journal file on this machine, or PostgreSQL for many machines."""

import contextlib
import dataclasses
import hashlib
import re
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

import optuna
import sqlalchemy
from filelock import FileLock, Timeout
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from segmentation.errors import ConfigError, TrackingError
from segmentation.paths import user_path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
#: Of the heartbeats of a trial so many may be missing before its machine counts as lost.
_MISSED = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
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

    @property
    def shown(self) -> str:
        """The address without a password."""
        return re.sub(r"(//[^/:@]*):[^/@]*@", r"\1:***@", self.address)


def find_place(name: str, storage: str, folder: Path, heartbeat: int) -> Place:
    """Resolve the parameters `study` and `storage`.

    Args:
        name: of the study.
        storage: empty, or an address `postgresql://...`.
        folder: holds the journal files where `storage` is empty.
        heartbeat: seconds between signs of life.

    Raises:
        ConfigError: a name or address that cannot be.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"study={name}: expected up to 100 letters, digits, '.', '_' and '-', the first a "
            "letter or digit"
        )
    if storage and not storage.startswith(("postgresql://", "postgresql+psycopg://")):
        raise ConfigError(
            f"storage={storage}: expected postgresql://USER@HOST/DATABASE, or nothing for a file "
            "on this machine"
        )
    address = storage or str(user_path(str(folder), "storage") / f"{name}.journal")
    return Place(name=name, address=address, heartbeat=heartbeat)


def open_storage(place: Place) -> BaseStorage:
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
            lock = _JournalLock(path)
            lock.acquire()
            try:
                _cut_torn_line(path)
            finally:
                lock.release()
            return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))  # type: ignore[arg-type]  # what it needs of a lock
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
            f"the study's storage {place.shown} cannot be used ({reason}); start the server or "
            "make the folder writable, or give another `storage`"
        ) from error


@contextlib.contextmanager
def alone(place: Place) -> Iterator[None]:
    """Let one process at a time, of all that share the study, decide what is done next."""
    if place.shared:
        with _advisory_lock(place, place.name):
            yield
    else:
        with FileLock(f"{place.address}.claim"):
            yield


class Presence:
    """Shows that this process lives, by a lock that the system takes back when it dies.

    Where the study is shared among machines, Optuna's heartbeats show it instead.
    """

    def __init__(self, place: Place) -> None:
        """Begin to show it."""
        self.id = uuid.uuid4().hex
        self._lock: FileLock | None = None
        if not place.shared:
            self._path = _presence_path(place, self.id)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self._path)
            self._lock.acquire()

    def close(self) -> None:
        """End it."""
        if self._lock is not None:
            self._path.unlink(missing_ok=True)
            self._lock.release()


def is_present(place: Place, presence: str) -> bool:
    """Tell whether the process of this presence lives; for studies that are not shared."""
    path = _presence_path(place, presence)
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    path.unlink(missing_ok=True)
    lock.release()
    return False


def _presence_path(place: Place, presence: str) -> Path:
    return Path(f"{place.address}.alive") / presence


class _JournalLock:
    """The journal's own lock, by the system: Optuna's outlives a killed process for 30 s."""

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(f"{path}.lock")

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


def _cut_torn_line(path: Path) -> None:
    """Drop what a full disk or a power cut left of a last line, which nothing could read."""
    if not path.exists():
        return
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)


@contextlib.contextmanager
def _advisory_lock(place: Place, what: str) -> Iterator[None]:
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
