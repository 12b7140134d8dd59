"""What is registered works where this project is not, without its code and without pickle."""

import json
import subprocess
import sysconfig
import venv
from pathlib import Path

import mlflow
import pytest

from tests.helpers.home import Home
from tests.helpers.programs import PROJECT, Program, good

SCRIPT = PROJECT / "tests" / "helpers" / "load_elsewhere.py"


def answers(home: Home, python: Path, folder: Path) -> None:
    """Load with `python`, in an empty folder, and compare with what training saw."""
    splits = json.loads(home.artifact("splits.json").read_text())
    ours = {"MLFLOW_TRACKING_URI": home.store, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    elsewhere = Program(folder / "elsewhere", folder)
    words = ["models:/pet-unet/1", home.data, ",".join(splits["val"]), home.threshold]
    own = {**ours, "HOME": str(folder), "PYTHONPATH": ""}
    done = good(elsewhere.run(str(python), str(SCRIPT), *map(str, words), **own))
    answer = json.loads(done.stdout.splitlines()[-1])
    assert not answer["project_is_here"]
    assert answer["dice"] == pytest.approx(home.training.data.metrics["best/dice"], abs=1e-3)


@pytest.mark.parametrize("name", [pytest.param("home", marks=pytest.mark.slow), "pretrained_home"])
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
def test_it_loads_in_an_environment_of_its_requirements(home: Home, tmp_path: Path) -> None:
    mlflow.set_tracking_uri(home.store)
    address = "models:/pet-unet/1/requirements.txt"
    requirements = mlflow.artifacts.download_artifacts(address, dst_path=str(tmp_path))
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "-r", requirements], check=True)
    answers(home, python, tmp_path)
