"""Trainings that are killed or cut off, and what must be the same afterwards."""

import contextlib
import dataclasses
import glob
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import mlflow
import torch
from mlflow.entities import Run

from segmentation.tracking.registry.loading import load_export
from segmentation.training import checkpoint
from tests.helpers.programs import TINY, Program

#: A training of some seconds, besides start and end.
SHORT = {**TINY, "epochs": "40", "lr": "1e-2", "batch_size": "4"}
#: A checkpoint after every epoch, so that kills meet all kinds of moments.
OFTEN = {"PETSEG_CHECKPOINT_SECONDS": "0"}


@dataclasses.dataclass(frozen=True)
class Ended:
    """What a training has left in the store."""

    figures: dict[str, list[tuple[int, float]]]
    steps: dict[str, list[int]]
    weights: dict[str, torch.Tensor]
    versions: int
    pictures: list[str]
    tags: dict[str, str]

    def require_same(self, other: "Ended") -> None:
        """Assert that two trainings are the same to the last bit, point by point."""
        assert self.figures == other.figures
        assert self.steps == other.steps
        assert (self.pictures, self.tags) == (other.pictures, other.tags)
        assert self.versions == other.versions == 1
        assert self.weights.keys() == other.weights.keys()
        for name, tensor in self.weights.items():
            assert torch.equal(tensor, other.weights[name]), name


def the_run(store: str) -> Run:
    """Return the one run of a store."""
    (run,) = mlflow.MlflowClient(store).search_runs(["0"])
    return run


def ended(store: str) -> Ended:
    """Read what the one training of a store, which is finished, has left."""
    client, run = mlflow.MlflowClient(store), the_run(store)
    run_id = run.info.run_id
    assert run.info.status == "FINISHED"
    histories = {
        name: [(point.step, point.value) for point in client.get_metric_history(run_id, name)]
        for name in run.data.metrics
        if not name.startswith("system/")
    }
    (version,) = client.search_model_versions("name='pet-unet'")
    mlflow.set_tracking_uri(store)
    model = load_export(f"models:/pet-unet/{version.version}")
    images = [item.path for item in client.list_artifacts(run_id, "images")]
    return Ended(
        figures={name: points for name, points in histories.items() if "second" not in name},
        steps={name: [step for step, _ in points] for name, points in histories.items()},
        weights=dict(model.state_dict()),  # type: ignore[attr-defined]
        versions=len(client.search_model_versions(f"run_id='{run_id}'")),
        pictures=sorted(path.partition("+")[0] for path in images if path.endswith(".png")),
        tags={name: run.data.tags[name] for name in ("fit.best_epoch", "fit.reason", "promotion")},
    )


@contextlib.contextmanager
def once_there(pattern: Path, act: Callable[[], object]) -> Iterator[None]:
    """Do something from another thread as soon as there is such a file."""
    ended = threading.Event()

    def watch() -> None:
        while not glob.glob(str(pattern)):
            if ended.wait(0.01):
                return
        act()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def interrupt(
    program: Program,
    name: str,
    there: Path,
    options: Mapping[str, object],
    kind: signal.Signals = signal.SIGINT,
    variables: Mapping[str, str] = OFTEN,
) -> "subprocess.CompletedProcess[str]":
    """Run an entry point in this process, and send it a signal once a file is there.

    Args:
        program: what runs.
        name: of the entry point.
        there: which file, a pattern.
        options: of the entry point, which must not come to its end before.
        kind: of the signal.
        variables: of the environment.
    """
    with once_there(there, lambda: os.kill(os.getpid(), kind)):
        return program.entry_with(name, variables, **options)


def kept_epoch(path: Path) -> int:
    """Return the epoch that a checkpoint's file keeps."""
    return int(checkpoint.load(path)["state"]["epoch"])


def wait_for_checkpoint(program: Program, epoch: int = 1) -> int:
    """Wait until a training has kept an epoch; return which one it was."""
    deadline = time.monotonic() + 120
    while True:
        for path in (program.cache / "runs").glob("*/checkpoint"):
            kept = kept_epoch(path)
            if kept >= epoch:
                return kept
        assert time.monotonic() < deadline
        time.sleep(0.01)


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class TrackingServer:
    """A real `mlflow server` on loopback that can be stopped and started again."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self.folder, self.host, self.port = folder, host, free_port()
        self.uri = f"http://{host}:{self.port}"
        folder.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = {
            "host": self.host,
            "port": self.port,
            "workers": 1,
            "backend-store-uri": f"sqlite:///{self.folder}/mlflow.db",
            "artifacts-destination": self.folder / "artifacts",
        }
        command = [sys.executable, "-m", "mlflow", "server"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *(f"--{name}={value}" for name, value in options.items())],
                cwd=self.folder,
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 120
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.1)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), 1):
            return True
        return False

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
