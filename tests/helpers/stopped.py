"""Trainings that are killed or cut off, and what must be the same afterwards."""

import contextlib
import dataclasses
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import torch
from mlflow.entities import Run

from segmentation.tracking.registry.loading import load_export
from tests.helpers.programs import TINY, Program, entry_command

#: A training of some seconds, besides start and end.
SHORT = {**TINY, "epochs": "40", "lr": "1e-2", "batch_size": "4"}
#: A checkpoint after every epoch, so that kills meet all kinds of moments.
OFTEN = {"PETSEG_CHECKPOINT_SECONDS": "0"}
# Of the machine and the clock, not of the training.
_OTHERS = re.compile(r"system/.*|train/images_per_second")


@dataclasses.dataclass(frozen=True)
class Ended:
    """What a training has left in the store."""

    steps: dict[str, list[int]]
    figures: dict[str, list[tuple[int, float]]]
    weights: dict[str, torch.Tensor]
    versions: int
    pictures: list[str]
    run: Run

    def require_same(self, other: "Ended") -> None:
        """Assert that two trainings are the same to the last bit, point by point."""
        assert self.steps == other.steps
        assert self.figures == other.figures
        assert self.pictures == other.pictures
        assert self.versions == other.versions == 1
        assert self.weights.keys() == other.weights.keys()
        for name, tensor in self.weights.items():
            assert torch.equal(tensor, other.weights[name]), name
        for name in ("fit.best_epoch", "fit.reason", "promotion"):
            assert self.run.data.tags[name] == other.run.data.tags[name]
        statuses = (self.run.info.status, other.run.info.status)
        assert statuses == ("FINISHED", "FINISHED")


def ended(store: str) -> Ended:
    """Read what the one training of a store has left."""
    client = mlflow.MlflowClient(store)
    (run,) = client.search_runs(["0"])
    run_id = run.info.run_id
    histories = {
        name: [(point.step, point.value) for point in client.get_metric_history(run_id, name)]
        for name in run.data.metrics
    }
    (version,) = client.search_model_versions("name='pet-unet'")
    mlflow.set_tracking_uri(store)
    model = load_export(f"models:/pet-unet/{version.version}")
    pictures = [
        item.path.partition("+timestamp")[0]
        for item in client.list_artifacts(run_id, "images")
        if item.path.endswith(".png")
    ]
    return Ended(
        steps={
            name: [step for step, _ in points]
            for name, points in histories.items()
            if not name.startswith("system/")
        },
        figures={name: points for name, points in histories.items() if not _OTHERS.fullmatch(name)},
        weights=dict(model.state_dict()),  # type: ignore[attr-defined]
        versions=len(client.search_model_versions(f"run_id='{run_id}'")),
        pictures=sorted(pictures),
        run=run,
    )


def resume(program: Program, again: list[str]) -> "subprocess.CompletedProcess[str]":
    """Go on with the run that was killed, or begin again where none was begun."""
    client = mlflow.MlflowClient(program.store)
    there = (program.folder / "mlflow.db").exists() and client.search_runs(["0"])
    if not there:
        return program.run(*again, **OFTEN)
    return program.run(*entry_command("train", resume=there[0].info.run_id), **OFTEN)


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class TrackingServer:
    """A real `mlflow server` on loopback that can be stopped and started again."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self.folder, self.host, self.port = folder, host, free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """Its address."""
        return f"http://{self.host}:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", self.host, "--workers"]
        command += ["1", "--port", str(self.port), "--backend-store-uri"]
        command += [f"sqlite:///{self.folder}/mlflow.db", "--artifacts-destination"]
        command += [str(self.folder / "artifacts")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 120
        while True:
            assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, "the server does not answer"
            with (
                contextlib.suppress(OSError),
                socket.create_connection((self.host, self.port), 1),
            ):
                break
            time.sleep(0.1)

    def stop(self) -> None:
        """Kill it with all its processes."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def tracking_server(folder: Path, host: str = "127.0.0.1") -> Iterator[TrackingServer]:
    """Run a server on an address of this machine, whatever happens to it in between."""
    server = TrackingServer(folder, host)
    server.start()
    try:
        yield server
    finally:
        server.stop()
