"""What is registered works where this project is not, without its code and without pickle."""

import json
import subprocess
import sysconfig
import venv
from pathlib import Path

import mlflow
import pytest

from tests.helpers.home import Home
from tests.helpers.programs import PROJECT, good

SCRIPT = PROJECT / "tests" / "helpers" / "load_elsewhere.py"


def answers(home: Home, python: Path, folder: Path) -> None:
    """Load with `python`, in an empty folder, and compare with what training saw."""
    splits = json.loads(home.artifact("splits.json").read_text())
    environment = home.environment(
        MLFLOW_TRACKING_URI=home.store, MLFLOW_ALLOW_PICKLE_DESERIALIZATION="false"
    )
    del environment["PYTHONPATH"]
    command: list[str | Path] = [
        python,
        SCRIPT,
        "models:/pet-unet@challenger",
        home.data,
        ",".join(splits["val"]),
        str(home.threshold),
    ]
    own = environment | {"HOME": str(folder)}
    done = good(
        subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True, check=False)
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    assert not answer["project_is_here"]
    assert answer["dice"] == pytest.approx(home.training.data.metrics["best/dice"], abs=1e-3)


@pytest.mark.parametrize("name", ["home", "pretrained_home"])
def test_it_loads_where_this_project_is_not(
    request: pytest.FixtureRequest, name: str, tmp_path: Path
) -> None:
    """An environment with the same packages; the full suite has one made from nothing."""
    home = request.getfixturevalue(name)
    venv.create(tmp_path / "venv", symlinks=True)
    site = next((tmp_path / "venv").glob("lib/python*/site-packages"))
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    answers(home, tmp_path / "venv" / "bin" / "python", tmp_path)


@pytest.mark.full
def test_it_loads_in_an_environment_made_from_its_own_requirements(
    home: Home, tmp_path: Path
) -> None:
    mlflow.set_tracking_uri(home.store)
    requirements = mlflow.artifacts.download_artifacts(
        "models:/pet-unet@challenger/requirements.txt", dst_path=str(tmp_path)
    )
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "-r", requirements], check=True)
    answers(home, python, tmp_path)
