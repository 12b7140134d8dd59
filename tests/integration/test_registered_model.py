"""What is registered works where this project is not: without its code, without pickle."""

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import mlflow
import numpy as np
import pytest
from PIL import Image

from segmentation.errors import ModelError
from segmentation.tracking.registry.loading import load
from tests.helpers.programs import PROJECT, TINY, Program, readme_code

SCRIPT = PROJECT / "tests" / "load_elsewhere.py"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, pets: Path) -> Program:
    folder = tmp_path_factory.mktemp("registered")
    program = Program(folder / "work", folder / "cache")
    done = program.entry("train", **TINY, data=pets)
    assert done.returncode == 0, done.stderr
    return program


def answers(program: Program, python: Path, data: Path, folder: Path) -> None:
    """Load with `python`, in an empty folder, and compare with what training saw."""
    client = mlflow.MlflowClient(program.store)
    (run,) = client.search_runs(["0"])
    splits = json.loads(Path(client.download_artifacts(run.info.run_id, "splits.json")).read_text())
    environment = program.environment(
        MLFLOW_TRACKING_URI=program.store, MLFLOW_ALLOW_PICKLE_DESERIALIZATION="false"
    )
    del environment["PYTHONPATH"]
    done = subprocess.run(
        [python, SCRIPT, "models:/pet-unet@challenger", data, ",".join(splits["val"])],
        cwd=folder,
        env=environment | {"HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert not answer["project_is_here"]
    assert answer["dice"] == pytest.approx(run.data.metrics["best/dice"], abs=1e-3)
    assert answer["shapes"] == [
        [1, 1, 301, 457],
        [5, 1, 301, 457],
        [5, 1, 33, 64],
        [2, 1, 1000, 17],
    ]


def test_it_loads_where_this_project_is_not(trained: Program, pets: Path, tmp_path: Path) -> None:
    """An environment with the same packages; the slow test has one made from nothing."""
    venv.create(tmp_path / "venv", symlinks=True)
    site = next((tmp_path / "venv").glob("lib/python*/site-packages"))
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    answers(trained, tmp_path / "venv" / "bin" / "python", pets, tmp_path)


@pytest.mark.slow
def test_it_loads_in_an_environment_made_from_its_own_requirements(
    trained: Program, pets: Path, tmp_path: Path
) -> None:
    mlflow.set_tracking_uri(trained.store)
    requirements = mlflow.artifacts.download_artifacts(
        "models:/pet-unet@challenger/requirements.txt", dst_path=str(tmp_path)
    )
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "-r", requirements], check=True)
    answers(trained, python, pets, tmp_path)


def test_the_readmes_lines_turn_a_photo_into_a_mask(
    trained: Program, pets: Path, tmp_path: Path
) -> None:
    code = readme_code("mlflow.pytorch.load_model")
    photo = sorted((pets / "images").iterdir())[0]
    shutil.copy(photo, tmp_path / "photo.jpg")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=trained.environment(MLFLOW_TRACKING_URI=trained.store),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "mask.png") as mask, Image.open(photo) as image:
        assert mask.size == image.size
        assert mask.mode == "1"


def test_it_holds_no_pickle(trained: Program, tmp_path: Path) -> None:
    mlflow.set_tracking_uri(trained.store)
    folder = mlflow.artifacts.download_artifacts(
        "models:/pet-unet@challenger", dst_path=str(tmp_path)
    )
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix in (".pkl", ".pth", ".pt", ".pickle")]
    (export,) = [path for path in files if path.suffix == ".pt2"]
    with zipfile.ZipFile(export) as archive:
        assert not [name for name in archive.namelist() if name.endswith((".pkl", ".pickle"))]
        contents = [archive.read(name)[:2] for name in archive.namelist()]
    assert not [content for content in contents if content in (b"\x80\x02", b"\x80\x04")]


def test_a_pickled_model_is_refused_unless_it_is_asked_for(tmp_path: Path) -> None:
    """Of another project, with our signature: redness as the probability of pet."""
    code = (
        "import mlflow, numpy, torch; mlflow.set_tracking_uri('{uri}')\n"
        "from mlflow.models import ModelSignature\n"
        "from mlflow.types import Schema, TensorSpec\n"
        "class Red(torch.nn.Module):\n"
        "    def forward(self, x): return x[:, :1].float() / 255\n"
        "def schema(kind, channels): return Schema([\n"
        "    TensorSpec(numpy.dtype(kind), (-1, channels, -1, -1))])\n"
        "mlflow.pytorch.log_model(Red(), name='m', registered_model_name='pickled',\n"
        "    serialization_format='pickle', pip_requirements=[],\n"
        "    signature=ModelSignature(schema('uint8', 3), schema('float32', 1)))"
    )
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    subprocess.run([sys.executable, "-c", code.format(uri=uri)], check=True, cwd=tmp_path)
    mlflow.set_tracking_uri(uri)
    with pytest.raises(ModelError, match=r"models:/pickled/1: needs pickle.*allow_pickle=true"):
        load("models:/pickled/1")
    loaded = load("models:/pickled/1", allow_pickle=True)
    photo = np.full((5, 7, 3), (51, 0, 0), np.uint8)
    (probability,) = list(loaded.model([photo]))
    assert probability == pytest.approx(np.full((5, 7), 0.2))
    assert loaded.label == "pickled version 1"


def test_a_model_that_is_not_there_is_told_with_those_that_are(trained: Program) -> None:
    mlflow.set_tracking_uri(trained.store)
    for address in ("models:/pet-unet@best", "models:/pet-unet/7", "models:/cat", "runs:/0/model"):
        with pytest.raises(ModelError) as error:
            load(address)
        assert f"model={address}: cannot be loaded" in str(error.value)
        assert "pet-unet (@challenger is 1" in str(error.value)
