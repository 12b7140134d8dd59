"""`mlflow run` with an environment that MLflow builds from conda.yaml."""

import mlflow
import pytest

from tests.programs import PROJECT, TINY, Program


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
