"""A team's tracking server, as docs/team-server.md says: PostgreSQL, passwords, artifacts."""

import contextlib
import dataclasses
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psycopg

from tests import postgres
from tests.programs import PROJECT
from tests.stopped import free_port

ADMIN = "admin"
RECIPE = PROJECT / "docs" / "team-server.md"


@dataclasses.dataclass(frozen=True)
class Team:
    """A server that is up.

    Attributes:
        uri: its address.
        password: of its first user, `admin`.
        studies: the address of a database for studies.
        artifacts: where it keeps them.
    """

    uri: str
    password: str
    studies: str
    artifacts: Path

    def variables(self, name: str = ADMIN, password: str = "") -> dict[str, str]:
        """Return the environment of who uses it."""
        return {
            "MLFLOW_TRACKING_URI": self.uri,
            "MLFLOW_TRACKING_USERNAME": name,
            "MLFLOW_TRACKING_PASSWORD": password or self.password,
        }


@contextlib.contextmanager
def team_server(folder: Path, workers: int = 2) -> Iterator[Team]:
    """Start PostgreSQL and the server; yield it; end both."""
    folder.mkdir(parents=True, exist_ok=True)
    password, port = secrets.token_urlsafe(12), free_port()
    with postgres.running() as address:
        with psycopg.connect(address, autocommit=True) as database:
            for name in ("mlflow", "mlflow_auth", "studies"):
                database.execute(f"CREATE DATABASE {name}")
        base = address.rpartition("/")[0]
        (folder / "auth.ini").write_text(_settings(f"{base}/mlflow_auth"))
        command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
        command += ["--backend-store-uri", f"{base}/mlflow", "--serve-artifacts"]
        command += ["--artifacts-destination", str(folder / "artifacts")]
        environment = {
            **{name: value for name, value in os.environ.items() if "MLFLOW" not in name},
            "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
            "MLFLOW_AUTH_ADMIN_PASSWORD": password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            _wait_until_healthy(server, port, folder / "log")
            uri = f"http://127.0.0.1:{port}"
            yield Team(uri, password, f"{base}/studies", folder / "artifacts")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _settings(database: str) -> str:
    """Return the recipe's `auth.ini`, with another database."""
    block = RECIPE.read_text().partition("```ini\n")[2].partition("```")[0]
    return block.replace("postgresql://petseg:PASSWORD@127.0.0.1/mlflow_auth", database)


def _wait_until_healthy(server: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + 180
    while True:
        health = f"http://127.0.0.1:{port}/health"
        with contextlib.suppress(OSError), urllib.request.urlopen(health, timeout=5) as answer:
            if answer.status == 200:
                return
        assert server.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.2)
