"""A registered model behind MLflow's server on loopback, and requests to it."""

import contextlib
import dataclasses
import http.client
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import uvicorn
from mlflow.pyfunc import scoring_server

from tests.helpers.in_process import isolated
from tests.helpers.programs import Program
from tests.helpers.stopped import free_port


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def sentence(self) -> str:
        """What it says to a person."""
        try:
            told = self.json()
        except ValueError:
            return self.body.decode(errors="replace")
        return str(told.get("message", told.get("detail", "")) if isinstance(told, dict) else told)


@dataclasses.dataclass(frozen=True)
class Server:
    """A server that runs."""

    port: int

    def post(self, body: bytes, headers: dict[str, str]) -> Answer:
        """Send one request to `/invocations`, with these headers and no others of weight."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", "/invocations", body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.read())
        finally:
            connection.close()

    def ask(self, request: object) -> Answer:
        """Send JSON."""
        body = json.dumps(request).encode()
        return self.post(body, {"Content-Type": "application/json"})


@contextlib.contextmanager
def served_here(program: Program, model: str) -> Iterator[Server]:
    """Serve a model from a thread of this process until the end."""
    with isolated(program.folder, program.environment()):
        mlflow.set_tracking_uri(program.store)
        app = scoring_server.init(mlflow.pyfunc.load_model(model))
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield Server(port)
    finally:
        server.should_exit = True
        thread.join()


@contextlib.contextmanager
def served(program: Program, model: str) -> Iterator[Server]:
    """Serve a model until the end."""
    port = free_port()
    log = Path(program.folder / "serve.log")
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                *("mlflow", "models", "serve", "-m", model, "--env-manager", "local"),
                *("--host", "127.0.0.1", "--port", str(port)),
            ],
            cwd=program.folder,
            env=program.environment(MLFLOW_TRACKING_URI=program.store),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,  # it starts others, which end with it
        )
    try:
        _wait(port, process, log)
        yield Server(port)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def _wait(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 180
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/ping")
            if connection.getresponse().status == 200:
                connection.close()
                return
        except OSError:
            time.sleep(0.3)
