"""The tracking server goes away in the middle of a training, for a while or for good."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest

from tests.helpers.programs import Program, good
from tests.helpers.servers import TrackingServer
from tests.helpers.stopped import OFTEN, SHORT, once_there

EPOCHS = 150


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    with TrackingServer(tmp_path_factory.mktemp("server")) as server:
        yield server


def train(
    program: Program,
    server: TrackingServer,
    pets: Path,
    trouble: Callable[[], object],
    patience: float = 120,
) -> "subprocess.CompletedProcess[str]":
    """Train, with some trouble as soon as there is a checkpoint."""
    patient = {"MLFLOW_TRACKING_URI": server.uri, "PETSEG_PATIENCE_SECONDS": str(patience)}
    options = {**SHORT, "epochs": str(EPOCHS), "data": pets}
    with once_there(program.cache / "runs" / "*" / "checkpoint", trouble):
        return program.entry("train", **OFTEN, **patient, **options)


def require_whole(server: TrackingServer) -> None:
    """Assert that every point, picture and file of the last run is there, once, and one version."""
    client = mlflow.MlflowClient(server.uri)
    run = client.search_runs(["0"])[0]
    run_id = run.info.run_id
    assert run.info.status == "FINISHED"
    for name in ("train/loss", "val/dice", "train/images_per_second"):
        points = client.get_metric_history(run_id, name)
        assert [point.step for point in points] == list(range(1, EPOCHS + 1)), name
    assert len(client.get_metric_history(run_id, "best/dice")) == 1
    pictures = [item.path for item in client.list_artifacts(run_id, "images")]
    assert len(pictures) == len({path.partition("+timestamp")[0] for path in pictures}) * 2
    there = {item.path for item in client.list_artifacts(run_id)}
    assert {"curves.png", "images", "splits.json", "val"} <= there
    (version,) = client.search_model_versions(f"run_id = '{run_id}'")
    assert version.description
    assert "challenger" in client.get_model_version("pet-unet", version.version).aliases


@pytest.mark.parametrize(
    "seconds", [pytest.param(8, marks=pytest.mark.slow), pytest.param(60, marks=pytest.mark.full)]
)
def test_a_server_that_is_away_for_a_while_loses_nothing(
    program: Program, server: TrackingServer, pets: Path, seconds: float
) -> None:
    def be_away() -> None:
        server.stop()
        time.sleep(seconds)
        server.start()

    done = good(train(program, server, pets, be_away))
    assert "Tracking: the store does not take what is written (" in done.stdout
    assert "Tracking: the store answers again, after " in done.stdout
    require_whole(server)
    assert not list((program.cache / "runs").iterdir())


@pytest.mark.slow
def test_what_a_server_that_stays_away_did_not_get_is_delivered_later_and_registered(
    program: Program, server: TrackingServer, pets: Path
) -> None:
    done = train(program, server, pets, server.stop, patience=5)
    assert done.returncode == 1
    assert "nothing is lost: it lies in " in done.stderr
    assert " -e recover " in done.stderr
    (folder,) = (program.cache / "runs").iterdir()
    store = {"MLFLOW_TRACKING_URI": server.uri}
    assert "cannot be used" in program.refused(1, "recover", **store)
    server.start()
    listed = good(program.entry("recover", **store, end="false"))
    assert f"entries of run {folder.name} are to be delivered" in listed.stdout
    done = good(program.entry("recover", **store))
    assert f"entries of run {folder.name}; it is FINISHED" in done.stdout
    assert "Registered: models:/pet-unet/" in done.stdout
    require_whole(server)
    assert not folder.exists()
    again = program.entry("recover", **store)
    assert again.stdout.splitlines()[-1] == "Nothing is left to recover"
