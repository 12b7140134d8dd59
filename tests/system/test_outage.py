"""The tracking server goes away in the middle of a training, for a while or for good."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from tests.helpers.programs import Program, entry_command, read_until
from tests.helpers.stopped import SHORT, TrackingServer, tracking_server

EPOCHS = 400


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TrackingServer]:
    with tracking_server(tmp_path / "server") as server:
        yield server


def start(
    program: Program, server: TrackingServer, pets: Path, patience: float = 120
) -> "subprocess.Popen[str]":
    options = {**SHORT, "epochs": str(EPOCHS)}
    command = entry_command("train", **options, data=pets)
    return program.start(
        *command, MLFLOW_TRACKING_URI=server.uri, PETSEG_PATIENCE_SECONDS=str(patience)
    )


def require_whole(server: TrackingServer) -> None:
    """Assert that every point, picture and file is there, once, and one version."""
    client = mlflow.MlflowClient(server.uri)
    (run,) = client.search_runs(["0"])
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
    (version,) = client.search_model_versions("name='pet-unet'")
    assert version.run_id == run_id
    assert version.description
    assert "challenger" in client.get_model_version("pet-unet", version.version).aliases


def ride_out(program: Program, server: TrackingServer, pets: Path, seconds: float) -> None:
    process = start(program, server, pets)
    try:
        read_until(process, "Epoch 40/")
        server.stop()
        time.sleep(seconds)
        server.start()
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert "Tracking: the store does not take what is written (" in out
    assert "Tracking: the store answers again, after " in out
    require_whole(server)
    assert not list((program.cache / "runs").iterdir())


@pytest.mark.slow
def test_a_server_that_is_away_for_a_while_loses_nothing(
    program: Program, server: TrackingServer, pets: Path
) -> None:
    ride_out(program, server, pets, 8)


@pytest.mark.full
def test_a_server_that_is_away_for_a_minute_loses_nothing(
    program: Program, server: TrackingServer, pets: Path
) -> None:
    ride_out(program, server, pets, 60)


@pytest.mark.slow
def test_what_a_server_that_stays_away_did_not_get_is_delivered_later_and_registered(
    program: Program, server: TrackingServer, pets: Path
) -> None:
    process = start(program, server, pets, patience=5)
    try:
        read_until(process, "Epoch 40/")
        server.stop()
        _, err = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 1
    assert "Traceback" not in err
    assert "nothing is lost: it lies in " in err
    assert "mlflow run . -e recover" in err
    (folder,) = (program.cache / "runs").iterdir()
    away = program.run(*entry_command("recover"), MLFLOW_TRACKING_URI=server.uri)
    assert away.returncode == 1
    assert "cannot be used" in away.stderr
    server.start()
    listed = program.run(*entry_command("recover", end="false"), MLFLOW_TRACKING_URI=server.uri)
    assert listed.returncode == 0, listed.stderr
    assert f"entries of run {folder.name} are to be delivered" in listed.stdout
    done = program.run(*entry_command("recover"), MLFLOW_TRACKING_URI=server.uri)
    assert done.returncode == 0, done.stderr
    assert f"entries of run {folder.name}; it is FINISHED" in done.stdout
    assert "Registered: models:/pet-unet/1, @challenger" in done.stdout
    require_whole(server)
    assert not folder.exists()
    again = program.run(*entry_command("recover"), MLFLOW_TRACKING_URI=server.uri)
    assert again.stdout.splitlines()[-1] == "Nothing is left to recover"
