"""What is wrong with the address of a store, and what helps where one cannot be used."""

import os
import re

from segmentation.tracking.addresses import ENDINGS, mask_password
from segmentation.utils.paths import user_path

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
