"""Reaching the tracking store: quietly, at once or not at all, and safely by many at a time."""

import contextlib
import hashlib
import logging
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# MLflow reads these when it is imported; what a user has set stays.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow
import sqlalchemy
from filelock import FileLock
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from segmentation.errors import ConfigError, TrackingError
from segmentation.utils.environment import environment
from segmentation.utils.paths import cache_folder

#: Raised where the store cannot be reached, or cannot do what is asked.
StoreError = MlflowException

_RESERVE = 2 * 2**20  # bytes; the end of a run takes some pages of the database and of its log

_CHATTY = {
    "alembic": logging.WARNING,
    # It logs tracebacks of errors that are raised as well, and told as a sentence.
    "mlflow.store.db.utils": logging.CRITICAL,
    "mlflow.pyfunc": logging.WARNING,
    "mlflow.system_metrics": logging.WARNING,
    "mlflow.tracking.fluent": logging.WARNING,
    "urllib3.connectionpool": logging.ERROR,
}


def connect() -> str:
    """Reach the tracking store that MLflow's own rules choose, making it where it is new.

    Returns:
        Its address.

    Raises:
        TrackingError: it cannot be reached or written.
    """
    for name, level in _CHATTY.items():
        logging.getLogger(name).setLevel(level)
    uri = str(mlflow.get_tracking_uri())
    try:
        # A server that does not answer is given up within seconds, not minutes.
        with (
            store_lock(uri),
            environment(
                {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
            ),
        ):
            if path := sqlite_path(uri):
                _let_readers_and_a_writer_work_together(path)
                _keep_reserve(path)
            client = mlflow.MlflowClient()
            client.search_experiments(max_results=1)
            client.search_registered_models(max_results=1)
            experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME")
            if experiment and not client.get_experiment_by_name(experiment):
                client.create_experiment(experiment)  # here, since several at once would collide
    except (
        MlflowException,
        OSError,
        sqlite3.Error,
        ImportError,
        sqlalchemy.exc.ArgumentError,
    ) as e:
        reason = next(iter(str(e).splitlines()), type(e).__name__)[:300]
        what = (
            "install the database's driver"
            if isinstance(e, ImportError)
            else ("start the server or make the folder writable")
        )
        raise TrackingError(
            f"the tracking store {mask_password(uri)} cannot be used ({reason}); {what}, or set "
            "MLFLOW_TRACKING_URI to one that works"
        ) from e
    return uri


def release_reserve() -> None:
    """Give back the space that was kept so that a full disk still takes how a run ended."""
    if path := sqlite_path(str(mlflow.get_tracking_uri())):
        with contextlib.suppress(OSError):
            _reserve(path).unlink()


def _keep_reserve(path: Path) -> None:
    """Keep some space beside a database, where there is any."""
    with contextlib.suppress(OSError):
        if not _reserve(path).exists():
            # Not sparse: the blocks are to be this file's.
            _reserve(path).write_bytes(os.urandom(_RESERVE))


def _reserve(path: Path) -> Path:
    return path.with_name(f"{path.name}-reserve")


def paginate(search: Callable[[str | None], Any]) -> Iterator[Any]:
    """Yield all that a search finds.

    Args:
        search: returns a page, given what the page before it says of the next.
    """
    token: str | None = None
    while token != "":
        page = search(token)
        yield from page
        token = page.token or ""


def find_runs(wanted: str) -> Iterator[Run]:
    """Yield the runs of all experiments that fit an MLflow filter; deleted ones are none."""
    client = mlflow.MlflowClient()
    experiments = paginate(lambda page: client.search_experiments(page_token=page))
    ids = [experiment.experiment_id for experiment in experiments]
    return paginate(lambda page: client.search_runs(ids, wanted, page_token=page))


def get_run_or_fail(run_id: str, parameter: str, expected: str) -> Run:
    """Look a run up in the tracking store.

    Args:
        run_id: as it was given.
        parameter: the one that it was given for.
        expected: a clause that says what was.

    Raises:
        ConfigError: there is no such run, or it was deleted.
    """
    try:
        run: Run = mlflow.MlflowClient().get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise ConfigError(
            f"{parameter}={run_id}: the tracking store has no such run; {expected}, which `mlflow "
            "ui` shows; train in the folder of that run, or set MLFLOW_TRACKING_URI to its store"
        ) from error
    if run.info.lifecycle_stage != "active":
        raise ConfigError(
            f"{parameter}={run_id}: the run {run.info.run_name} was deleted; bring it back with "
            f"`mlflow runs restore --run-id {run_id}`, or give another"
        )
    return run


def studies_folder() -> Path:
    """Return the folder for studies: beside the store's database, else in the working folder."""
    path = sqlite_path(str(mlflow.get_tracking_uri()))
    return (path.parent if path else Path.cwd()) / "studies"


def this_store() -> str:
    """Return what tells this tracking store from others, without any password in it."""
    return _name_of(str(mlflow.get_tracking_uri()))


@contextlib.contextmanager
def store_lock(uri: str) -> Iterator[None]:
    """Let one process of this machine at a time change what others would change too.

    Several that create a database's tables at once fail, and several that look whether there is a
    champion would all find none. A server keeps its own order.
    """
    folder = cache_folder() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{_name_of(uri)}.lock", is_singleton=True):
        yield


def _name_of(uri: str) -> str:
    """Name a store by its address, in a way that shows no password."""
    if path := sqlite_path(uri):  # the same relative address means other files in other folders
        uri = str(path)
    return hashlib.sha256(uri.encode()).hexdigest()[:16]


def sqlite_path(uri: str) -> Path | None:
    """Return the absolute path of an SQLite database's file, or None for other stores."""
    if not uri.startswith("sqlite:"):
        return None
    return Path(sqlalchemy.make_url(uri).database or "mlflow.db").absolute()


def mask_password(uri: str) -> str:
    """Return an address without the password that it may hold."""
    return re.sub(r"(//[^/:@]*):[^/@]*@", r"\1:***@", uri)


def _let_readers_and_a_writer_work_together(path: Path) -> None:
    """Turn on SQLite's write-ahead log, which the file remembers; writing then costs half."""
    with contextlib.closing(sqlite3.connect(path, timeout=60)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
