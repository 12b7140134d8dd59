"""Addresses of stores and of artifacts: how they are written, where they lead, and whose it is."""

import contextlib
import os
import re
import sqlite3
from pathlib import Path

import mlflow
import sqlalchemy
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri

from segmentation.errors import TrackingError
from segmentation.utils.paths import user_path

#: How the names of SQLite databases end.
ENDINGS = (".db", ".sqlite", ".sqlite3")
_EXPERIMENT = "SELECT 1 FROM experiments WHERE artifact_location = :address"
_MODELS = "SELECT 1 FROM logged_models WHERE artifact_location LIKE :address"
_FILES = (
    "SELECT 1 FROM runs WHERE artifact_uri = :address UNION "
    "SELECT 1 FROM logged_models WHERE artifact_location = :address"
)
_DEFAULT = "sqlite:///mlflow.db"
#: What pip calls the packages of drivers that Python calls otherwise.
_PACKAGES = {"MySQLdb": "mysqlclient", "psycopg": "'.[postgres]'"}
#: What stores say, and what helps.
_REMEDIES = {
    "maintenance mode": "bring its runs over with `mlflow migrate-filestore --source {folder} "
    f"--target {_DEFAULT}`",
    "unsupported URI": "give one such as http://HOST:PORT, postgresql://... or sqlite:///FILE",
    "error code 40[13]": "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    "error code": "give the address of an MLflow server",
    "out-of-date": "save a copy of it, then `mlflow db upgrade {uri}`",
    "not a database|another program|already exists": "give another file",
    "Is a directory": "give a file in it, such as {uri}/mlflow.db",
    "Not a directory|File exists": "give a file in a folder",
    "disk is full|No space": "free some space",
    "is locked": "end the program that holds it",
    "readonly": "make the file writable",
    "unable to open|Permission|Read-only|No such file": "make the folder writable",
}


def sqlite_path(uri: str) -> Path | None:
    """Return the absolute path of an SQLite database's file, or None for other stores."""
    if not uri.startswith("sqlite:"):
        return None
    return Path(sqlalchemy.make_url(uri).database or "").absolute()


def mask_password(uri: str) -> str:
    """Return an address without the password that it may hold."""
    return re.sub(r"(//[^/:@]*):[^/@]*@", r"\1:***@", uri)


def in_this_store(address: str) -> bool:
    """Tell whether what lies at an address is provably this tracking store's own.

    A database that was copied or moved still holds the addresses of the first one's files. Of two
    kinds alone it is known whose they are: what a tracking server serves itself, and what lies in
    the folder of an SQLite database where no other database near it knows it, too.
    """
    if address.startswith("mlflow-artifacts:"):
        return not address.startswith("mlflow-artifacts://")  # with a host it may be another server
    database, path = _database(), _local(address)
    if database is None or path is None or not path.is_relative_to(database.parent):
        return False
    return not _others_that_know(path, _FILES, address)


def require_own(address: str, created: int = 0) -> None:
    """Raise a TrackingError where the store was copied or moved, and files would go elsewhere.

    The addresses in an SQLite database are absolute: after a copy they lead to the original's
    files, after a move to where nothing is any more. The address is of a run's artifacts, or of
    those of an experiment that was created at this time, in milliseconds.
    """
    database, path = _database(), _local(address)
    if database is None or path is None or path.is_relative_to(database.parent):
        return
    query = f"{_EXPERIMENT} AND creation_time = {int(created)}" if created else _FILES
    remedy = "or set MLFLOW_EXPERIMENT_NAME to a new name, whose files come to lie here"
    if others := _others_that_know(path, query, address):
        raise TrackingError(
            f"the tracking store {database} is a copy: what is written would go to {path}, among "
            f"the files of {others[0]}; work in that folder, {remedy}"
        )
    home = path.parents[0 if created else 2]  # its last folders are made when files are written
    models = f"{address if created else address.rsplit('/', 2)[0]}/models/%"
    if not home.exists() and finds(database, _MODELS, models):
        raise TrackingError(
            f"the tracking store {database} was moved: its files are looked for in {path}, which "
            f"is not there; move it back, let the old folder lead to {database.parent} (`ln -s`), "
            f"{remedy}; if that is where they are to go, make that folder"
        )


def _database() -> Path | None:
    database = sqlite_path(str(mlflow.get_tracking_uri()))
    return database and database.resolve()


def _local(address: str) -> Path | None:
    """Return the path of an address on this machine, its links followed; None for others."""
    if not is_local_uri(address):  # type: ignore[no-untyped-call]
        return None
    return Path(local_file_uri_to_path(address)).resolve()  # type: ignore[no-untyped-call]


def _others_that_know(path: Path, query: str, address: str) -> list[Path]:
    """Return the databases near a path, but for ours, in which a query finds it.

    They are looked for in the folders above the path, and in each folder beside our database.
    """
    if (own := _database()) is None:
        return []
    folders = [*path.parents, *own.parent.glob("*/")]
    near = {one for folder in folders for one in folder.glob("*") if one.suffix in ENDINGS}
    near |= {folder / own.name for folder in folders}
    return sorted(one for one in near if one.resolve() != own and finds(one, query, address))


def finds(database: Path, query: str, address: str) -> bool:
    """Tell whether a query about an `:address` finds something in a file, if that is a database."""
    # Without a log beside it, SQLite would make one even to read.
    log = database.with_name(f"{database.name}-wal").exists()
    uri = f"{database.as_uri()}?mode=ro{'' if log else '&immutable=1'}"
    with contextlib.suppress(sqlite3.Error):  # none, or another program's
        connection = sqlite3.connect(uri, uri=True)
        with contextlib.closing(connection):
            return connection.execute(query, {"address": address}).fetchone() is not None
    return False


def mistake(uri: str) -> tuple[str, str] | None:
    """Say what is wrong with how an address is written, and how to write it."""
    bare = uri.strip(" \t\r\n'\"")
    if bare != uri:
        return "it stands in quotes or blanks", (mistake(bare) or ("", bare or _DEFAULT))[1]
    if match := re.fullmatch(r"(?i)sqlite:(?:///|//)?(.*)", uri):
        return _sqlite_mistake(uri, match[1])
    if match := re.fullmatch(r"(?i)(https?)(?!://[^/])[:/]+(.+)", uri):
        return "its beginning is mistyped", f"{match[1].lower()}://{match[2]}"
    path = re.sub("^file:(//)?", "", uri)
    if "://" not in path and (path.endswith(ENDINGS) or os.path.isfile(path)):
        return "it names no kind of store", f"sqlite:///{_expanded(path)}"
    if re.fullmatch(r"[\w.-]+:\d+(/.*)?|localhost|[\w-]+(\.[\w-]+)+", uri):
        return "it names no kind of store", f"http://{uri}{':5000' * (uri == 'localhost')}"
    if uri.startswith("postgres:"):
        return "that name is out of use", uri.replace("postgres", "postgresql", 1)
    return None


def _sqlite_mistake(uri: str, path: str) -> tuple[str, str] | None:
    if not path or path.startswith((":memory:", "file:", "?")):
        return "a store in memory ends with its program", _DEFAULT
    meant = f"sqlite:///{_expanded(path)}"
    if meant == uri:
        return None
    return "a file's path stands after three slashes, without ~ or $", meant


def _expanded(path: str) -> str:
    path = os.path.expandvars(path)
    return str(user_path(path, "MLFLOW_TRACKING_URI")) if path.startswith("~") else path


def remedy(uri: str, error: Exception) -> str:
    """Say what helps where a store cannot be used."""
    if isinstance(error, ImportError):
        return f"`pip install {_PACKAGES.get(str(error.name), error.name)}`"
    said = (helps for what, helps in _REMEDIES.items() if re.search(what, str(error)))
    folder = re.sub("^file:(//)?", "", uri)
    return next(said, "start the server").format(uri=mask_password(uri), folder=folder)
