"""The project among MLflow's other parts: environments that it builds, its tracking server."""

import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import mlflow
import pytest

from tests.helpers.programs import PROJECT, TINY, Program, entry_command


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_uv_builds_the_environment_and_trains(program: Program) -> None:
    parameters = [f"-P{name}={value}" for name, value in TINY.items()]
    command = ["mlflow", "run", str(PROJECT), "-e", "train", "--env-manager", "uv"]
    done = program.run(*command, "-Pdata=synthetic", *parameters)
    assert done.returncode == 0, done.stderr[-3000:]
    client = mlflow.MlflowClient(program.store)
    (run,) = client.search_runs(["0"])
    assert run.info.status == "FINISHED"
    assert client.get_model_version("pet-unet-synthetic", "1").run_id == run.info.run_id


@pytest.mark.full  # as in test_team_server
def test_a_tracking_server_takes_runs_artifacts_and_models(program: Program, pets: Path) -> None:
    """A real `mlflow server` on loopback, with proxied artifacts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    server = program.start(
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"),
        *("--port", address.rpartition(":")[2], "--backend-store-uri", "sqlite:///server.db"),
        *("--serve-artifacts", "--artifacts-destination", "./kept"),
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
    )
    try:
        _wait_for(address + "/health", server)
        command = entry_command("train", **TINY, data=pets)
        done = program.run(*command, MLFLOW_TRACKING_URI=address)
        assert done.returncode == 0, done.stderr
        assert f"Look:  {address}/#/experiments/0/runs/" in done.stdout
        client = mlflow.MlflowClient(address)
        (run,) = client.search_runs(["0"])
        assert len(client.get_metric_history(run.info.run_id, "val/dice")) == 3
        assert list((program.folder / "kept").rglob("worst.jpg"))
        assert client.get_model_version_by_alias("pet-unet", "challenger").run_id == run.info.run_id
    finally:
        server.terminate()
        server.communicate(timeout=60)


def _wait_for(address: str, server: "subprocess.Popen[str]") -> None:
    """Wait until the server answers."""
    for _ in range(240):
        assert server.poll() is None
        try:
            urllib.request.urlopen(address, timeout=2).close()  # noqa: S310
            return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(address)
