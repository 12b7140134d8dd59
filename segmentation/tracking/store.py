"""The tracking store: reached quietly, at once or not at all, and safe for many at a time."""

import contextlib
import errno
import hashlib
import logging
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import psutil
import sqlalchemy
from filelock import FileLock
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException
from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine
from mlflow.tracking.fluent import _get_experiment_id

from segmentation.errors import ConfigError, TrackingError, first_line
from segmentation.tracking.addresses import (
    finds,
    mask_password,
    mistake,
    remedy,
    require_own,
    sqlite_path,
)
from segmentation.utils.environment import environment
from segmentation.utils.paths import cache_folder

#: Raised where the store cannot be reached, or cannot do what is asked.
StoreError = MlflowException

_LOG_LEVELS = {
    "alembic": logging.WARNING,
    # It logs tracebacks of errors that are raised as well, and printed as a sentence.
    "mlflow.store.db.utils": logging.CRITICAL,
    "mlflow.pyfunc": logging.WARNING,
    "mlflow.system_metrics": logging.WARNING,
    "mlflow.tracking.fluent": logging.WARNING,
    "urllib3.connectionpool": logging.ERROR,
}
# A server that does not answer is given up within seconds, not minutes.
_QUICK = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
_RUN = "SELECT 1 FROM runs WHERE run_uuid = :address"
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
_ERRORS = (MlflowException, OSError, sqlite3.Error, ImportError, sqlalchemy.exc.SQLAlchemyError)


def connect(*, writes: bool = True) -> str:
    """Reach the stores that MLflow's own rules choose, making them where they are new.

    With `writes` the experiment that the environment chooses must take files, too.

    Returns:
        The tracking store's address.

    Raises:
        TrackingError: one cannot be reached or written, or was copied or moved, or the
            experiment was deleted.
    """
    uri = _turn_to_store()
    client = mlflow.MlflowClient
    _reach("tracking store", uri, lambda: client().search_experiments(max_results=1))
    registry = str(mlflow.get_registry_uri())
    _reach("model registry", registry, lambda: client().search_registered_models(max_results=1))
    if writes:
        experiment = require_experiment()
        require_own(experiment.artifact_location, experiment.creation_time or 0)
    return uri


def _turn_to_store() -> str:
    for name, level in _LOG_LEVELS.items():
        logging.getLogger(name).setLevel(level)
    given = str(mlflow.get_tracking_uri())
    if (uri := _of_launcher(given)) != given:
        mlflow.set_tracking_uri(uri)
    return uri


def store_has(run_id: str) -> bool:
    """Tell whether the tracking store can have a run; it is not made where it is new."""
    uri = _turn_to_store()
    path = sqlite_path(uri)
    return not mistake(uri) and (path is None or finds(path, _RUN, run_id))


def _reach(kind: str, uri: str, attempt: Callable[[], object]) -> None:
    """Try a store; say what is wrong with it, and what to do."""
    cannot = f"the {kind} {mask_password(uri)} cannot be used"
    variable = "MLFLOW_REGISTRY_URI" if kind == "model registry" else "MLFLOW_TRACKING_URI"
    if wrong := mistake(uri):
        reason, right = wrong
        raise TrackingError(f"{cannot} ({reason}); set {variable}={mask_password(right)}")
    try:
        # Of several processes that create a database's tables at once, most would fail.
        with store_lock(uri), environment(_QUICK):
            if path := sqlite_path(uri):
                _open_database(path)
            attempt()
    except _ERRORS as error:
        reason = re.split(r"\. [A-Z]", first_line(error))[0].strip()[:300]
        raise TrackingError(
            f"{cannot} ({reason}); {remedy(uri, error)}, or set {variable} to one that works"
        ) from error


def require_experiment() -> Experiment:
    """Return the experiment that the environment chooses, making it where it is new."""
    try:
        with store_lock(str(mlflow.get_tracking_uri())):  # several at once would collide
            chosen = _get_experiment_id() or "0"
            experiment: Experiment = mlflow.MlflowClient().get_experiment(chosen)
    except MlflowException as error:
        if error.error_code not in _ABSENT:
            raise
        raise TrackingError(f"{error.message}; name another in MLFLOW_EXPERIMENT_NAME") from error
    if experiment.lifecycle_stage != "active":
        raise TrackingError(
            f"the experiment {experiment.name} was deleted; bring it back with "
            f"`{_restore(experiment)}`, or name another in MLFLOW_EXPERIMENT_NAME"
        )
    return experiment


def _of_launcher(uri: str) -> str:
    """Return a relative address as `mlflow run` means it: in the folder where that was typed.

    It starts this program in the project's folder, and hands on the address as it is.
    """
    run_id, prefix = os.environ.get("MLFLOW_RUN_ID"), "sqlite:///"
    name = uri.removeprefix(prefix)
    if not run_id or name == uri or Path(name).is_absolute() or mistake(uri):
        return uri
    if folder := next((one for one in _folders() if finds(one / name, _RUN, run_id)), None):
        return uri if folder == Path.cwd() else f"{prefix}{folder / name}"
    raise TrackingError(
        f"the tracking store {uri} cannot be used (no such file has run {run_id} of MLFLOW_RUN_ID)"
        "; set MLFLOW_TRACKING_URI to an absolute path, or unset MLFLOW_RUN_ID"
    )


def _folders() -> Iterator[Path]:
    """Yield the working folders of this process and of those that have started it."""
    yield Path.cwd()
    for process in psutil.Process().parents():
        with contextlib.suppress(psutil.Error, OSError):
            yield Path(process.cwd())


def _open_database(path: Path) -> None:
    """Open a database, making it and its folder where it is new, and let it be quick."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _create_database(path)
    with contextlib.closing(sqlite3.connect(path, timeout=60)) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        if names and "experiments" not in names:
            raise sqlite3.DatabaseError("it holds the tables of another program")
        # With a write-ahead log readers and a writer do not wait for each other, and a write costs
        # half. The database remembers it.
        connection.execute("PRAGMA journal_mode=WAL")
    with contextlib.suppress(OSError):
        if not _reserve(path).exists():
            _reserve(path).write_bytes(os.urandom(2 * 2**20))  # zeros may take no space


def _create_database(path: Path) -> None:
    """Make MLflow's tables in a file aside, so that a kill meanwhile leaves no half of them.

    MLflow refuses a database with a part of its tables for good.
    """
    making = path.with_name(f"{path.name}-making")
    for partial in path.parent.glob(f"{making.name}*"):
        partial.unlink()
    engine = create_sqlalchemy_engine(f"sqlite:///{making}")  # type: ignore[no-untyped-call]
    _initialize_tables(engine)  # type: ignore[no-untyped-call]
    engine.dispose()
    if path.exists():  # another program, which heeds no lock of ours, has made it meanwhile
        making.unlink()
    else:
        os.replace(making, path)


def release_reserve() -> None:
    """Give back some space, so that a full disk still takes how a run ended.

    SQLite can write nothing at all to a full disk, and the run would stay RUNNING. So a file of
    random bytes lies beside the database, which is deleted then, and made again.
    """
    if path := sqlite_path(str(mlflow.get_tracking_uri())):
        with contextlib.suppress(OSError):
            _reserve(path).unlink()


def _reserve(path: Path) -> Path:
    return path.with_name(f"{path.name}-reserve")


def find_runs(wanted: str) -> list[Run]:
    """Return the runs of all experiments that fit an MLflow filter, but for deleted ones."""
    found: list[Run] = mlflow.search_runs(
        search_all_experiments=True, filter_string=wanted, output_format="list"
    )
    return found


def find_run(run_id: str) -> Run | None:
    """Return a run, though it was deleted in MLflow; None where the store does not know it."""
    try:
        return mlflow.MlflowClient().get_run(run_id)
    except MlflowException as error:
        if error.error_code not in _ABSENT:
            raise
    return None


def metrics_of(run_id: str) -> dict[str, float]:
    """Return the last value of each metric of a run."""
    return dict(mlflow.MlflowClient().get_run(run_id).data.metrics)


def get_run_or_fail(run_id: str, asked: str, expected: str) -> Run:
    """Look up a run that a command needs; a ConfigError says that it was deleted, or never was.

    `asked` is the parameter that asks for it, `expected` a clause that says what is wanted.
    """
    if (run := find_run(run_id)) is None:
        raise ConfigError(
            f"{asked}: the tracking store has no such run; {expected}; set MLFLOW_TRACKING_URI to "
            "the store that has it, or work in its folder"
        )
    experiment, command = mlflow.MlflowClient().get_experiment(run.info.experiment_id), ""
    if experiment.lifecycle_stage != "active":  # its runs were deleted with it
        command = _restore(experiment)
    elif run.info.lifecycle_stage != "active":
        command = f"mlflow runs restore --run-id {run_id}"
    if command:
        raise ConfigError(
            f"{asked}: the run {run.info.run_name} was deleted; bring it back with `{command}`, or "
            "give another"
        )
    return run


def _restore(experiment: Experiment) -> str:
    return f"mlflow experiments restore --experiment-id {experiment.experiment_id}"


def studies_folder() -> Path:
    """Return the folder for studies: beside the store's database, else in the working folder."""
    path = sqlite_path(str(mlflow.get_tracking_uri()))
    return (path.parent if path else Path.cwd()) / "studies"


@contextlib.contextmanager
def store_lock(uri: str) -> Iterator[None]:
    """Let one process of this machine at a time look at the store and then change it.

    Several that look at once whether there is a champion would all find none. The same thread may
    take it twice. It keeps no order among machines: a server's own does.
    """
    folder = cache_folder() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{_name(uri)}.lock", is_singleton=True):
        yield


def this_store() -> str:
    """Return what tells this tracking store from others, without any password in it."""
    return _name(str(mlflow.get_tracking_uri()))


def _name(uri: str) -> str:
    if path := sqlite_path(uri):  # the same relative address means other files in other folders
        uri = str(path)
    return hashlib.sha256(uri.encode()).hexdigest()[:16]
