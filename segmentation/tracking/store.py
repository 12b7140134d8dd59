"""Reaching the tracking store: quietly, at once or not at all, and safely by many at a time."""

import contextlib
import hashlib
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

# MLflow reads these when it is imported; what a user has set stays.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow
from filelock import FileLock
from mlflow.exceptions import MlflowException

from segmentation.errors import TrackingError
from segmentation.paths import cache_folder

_CHATTY = {
    "alembic": logging.WARNING,
    "mlflow.store.db.utils": logging.WARNING,
    "mlflow.system_metrics": logging.WARNING,
    "mlflow.tracking.fluent": logging.WARNING,
    "urllib3.connectionpool": logging.ERROR,
}
_SQLITE = "sqlite:///"


def connect() -> str:
    """Reach the tracking store that MLflow's own rules choose, making it where it is new.

    Returns:
        Its address.

    Raises:
        TrackingError: it cannot be reached or written.
    """
    for name, level in _CHATTY.items():
        logging.getLogger(name).setLevel(level)
    uri = mlflow.get_tracking_uri()
    try:
        # A server that does not answer is given up within seconds, not minutes.
        with _alone(uri), environment("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1"):
            if uri.startswith(_SQLITE):
                _let_readers_and_a_writer_work_together(Path(uri.removeprefix(_SQLITE)))
            client = mlflow.MlflowClient()
            client.search_experiments(max_results=1)
            client.search_registered_models(max_results=1)
    except (MlflowException, OSError, sqlite3.Error) as error:
        reason = str(error).splitlines()[0][:300]
        raise TrackingError(
            f"the tracking store {uri} cannot be used ({reason}); start the server or make the "
            "folder writable, or set MLFLOW_TRACKING_URI to one that works"
        ) from error
    return str(uri)


def how_to_look(uri: str, run_id: str) -> str:
    """Return the command that shows a run, where one is needed, and the run's address."""
    experiment = mlflow.MlflowClient().get_run(run_id).info.experiment_id
    page = f"/#/experiments/{experiment}/runs/{run_id}"
    if uri.startswith(("http:", "https:")):
        return uri.rstrip("/") + page
    if uri.startswith(_SQLITE):
        uri = f"{_SQLITE}{Path(uri.removeprefix(_SQLITE)).absolute()}"
    return f"mlflow ui --backend-store-uri {uri}  then http://127.0.0.1:5000{page}"


@contextlib.contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Let one process at a time touch a database: several that create its tables at once fail."""
    if uri.startswith(("http:", "https:")):
        yield
        return
    if uri.startswith(_SQLITE):  # the same relative address means other files in other folders
        uri = str(Path(uri.removeprefix(_SQLITE)).absolute())
    folder = cache_folder() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{hashlib.sha256(uri.encode()).hexdigest()[:16]}.lock"):
        yield


@contextlib.contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    """Set an environment variable for a while: MLflow has settings that nothing else reaches."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _let_readers_and_a_writer_work_together(path: Path) -> None:
    """Turn on SQLite's write-ahead log, which the file remembers; writing then costs half."""
    with contextlib.closing(sqlite3.connect(path, timeout=60)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
