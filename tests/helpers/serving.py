"""A registered model behind MLflow's server on loopback, and requests to it."""

import contextlib
import dataclasses
import http.client
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import mlflow
import uvicorn
from mlflow.pyfunc import scoring_server

from tests.helpers.in_process import isolated
from tests.helpers.programs import Program
from tests.helpers.servers import free_port


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def sentence(self) -> str:
        try:
            told = self.json()
        except ValueError:
            return self.body.decode(errors="replace")
        return str(told.get("message", told.get("detail", "")) if isinstance(told, dict) else told)


@dataclasses.dataclass(frozen=True)
class Server:
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
        body = json.dumps(request).encode()
        return self.post(body, {"Content-Type": "application/json"})


@contextlib.contextmanager
def served(program: Program, model: str) -> Iterator[Server]:
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
