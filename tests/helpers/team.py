"""A team's tracking server, as docs/team-server.md says: PostgreSQL, passwords, artifacts."""

import contextlib
import dataclasses
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from tests.helpers import postgres
from tests.helpers.programs import PROJECT
from tests.helpers.servers import ServerProcess, free_port

ADMIN = "admin"
RECIPE = PROJECT / "docs" / "team-server.md"


@dataclasses.dataclass(frozen=True)
class Team:
    """A server that is up."""

    uri: str
    password: str  # of its first user, `admin`
    studies: str  # the address of a database for studies, as the recipe has it
    secret: str  # the password of PostgreSQL
    artifacts: Path

    def variables(self, name: str = ADMIN, password: str = "") -> dict[str, str]:
        return {
            "MLFLOW_TRACKING_URI": self.uri,
            "MLFLOW_TRACKING_USERNAME": name,
            "MLFLOW_TRACKING_PASSWORD": password or self.password,
            "PGPASSWORD": self.secret,
        }


@contextlib.contextmanager
def team_server(folder: Path, workers: int = 2) -> Iterator[Team]:
    """Start PostgreSQL and the server; yield it; end both."""
    folder.mkdir(parents=True, exist_ok=True)
    password, secret, port = secrets.token_urlsafe(12), secrets.token_hex(12), free_port()
    with postgres.running(password=secret) as address:
        with psycopg.connect(address, password=secret, autocommit=True) as database:
            for name in ("mlflow", "mlflow_auth", "studies"):
                database.execute(f"CREATE DATABASE {name}")
        place = urlsplit(address).netloc.rpartition("@")[2]
        with_password = {"127.0.0.1/": f"{place}/", "PASSWORD": secret}
        (folder / "auth.ini").write_text(_of_recipe("```ini\n", "```", with_password))
        store = _of_recipe("MLFLOW_BACKEND_STORE_URI=", " ", with_password)
        studies = _of_recipe("-P storage=", " ", {"127.0.0.1/": f"{place}/"})
        command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
        command += ["--serve-artifacts", "--artifacts-destination", str(folder / "artifacts")]
        environment = {
            **{name: value for name, value in os.environ.items() if "MLFLOW" not in name},
            "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
            "MLFLOW_AUTH_ADMIN_PASSWORD": password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_BACKEND_STORE_URI": store,
        }
        with ServerProcess(command, folder, environment, port):
            uri = f"http://127.0.0.1:{port}"
            yield Team(uri, password, studies, secret, folder / "artifacts")


def _of_recipe(before: str, after: str, instead: dict[str, str]) -> str:
    """Return what stands in the recipe between two texts, with something else in some places."""
    _, there, rest = RECIPE.read_text().partition(before)
    assert there, before
    text = rest.partition(after)[0]
    for said, own in instead.items():
        assert said in text, said
        text = text.replace(said, own)
    return text
