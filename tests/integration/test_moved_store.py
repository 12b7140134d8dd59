"""A store that was copied or moved: what it still says, and what it does not touch."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import mlflow
import pytest

from tests.helpers.home import Home
from tests.helpers.programs import TINY, Program, good


def folders(home: Home) -> list[Path]:
    """Those of its training and its model; what other tests add meanwhile comes and goes."""
    runs, model = home.folder / "mlruns" / "0", home.client.get_model_version("pet-unet", "1")
    return [runs / home.run_id, runs / "models" / str(model.source).rpartition("/")[2]]


def contents(home: Home) -> dict[Path, bytes]:
    found = [path for folder in folders(home) for path in folder.rglob("*") if path.is_file()]
    return {path: path.read_bytes() for path in found}


@pytest.fixture
def copy(home: Home, tmp_path: Path) -> Program:
    """A copy of a store, of which the original is there."""
    for folder in folders(home):
        shutil.copytree(folder, tmp_path / "copy" / folder.relative_to(home.folder))
    # Other tests use the store. To read its file by other means than SQLite's would give up the
    # locks that this process has on it, and then it can be damaged.
    copied = sqlite3.connect(tmp_path / "copy" / "mlflow.db")
    with closing(sqlite3.connect(home.folder / "mlflow.db")) as original, closing(copied):
        original.backup(copied)
    return Program(tmp_path / "copy", tmp_path / "cache")


def test_a_copy_leaves_the_files_of_the_original_alone(home: Home, copy: Program) -> None:
    before = contents(home)
    assert {path.name for path in before} >= {"curves.png", "MLmodel"}
    photo = next((home.data / "images").iterdir())
    model = "models:/pet-unet/1"
    commands: dict[str, dict[str, object]] = {
        "train": {"data": home.data, **TINY},
        "tune": {"data": home.data},
        "predict": {"images": photo, "output": "o", "model": model},
    }
    for name, options in commands.items():
        told = copy.refused(1, name, **options)
        assert f"{copy.folder}/mlflow.db is a copy: " in told
        assert f"among the files of {home.folder}/mlflow.db; work in that folder" in told
    own = {"MLFLOW_EXPERIMENT_NAME": "own"}
    assert "is a copy" in copy.refused(1, "train", **own, resume=home.run_id)
    good(copy.entry("predict", **own, images=photo, output="o", model=model))
    good(copy.entry("shrink", versions=1, delete="true"))
    good(copy.entry("recover"))
    assert before.items() <= contents(home).items()  # MLflow notes a name there
    assert list((copy.folder / "mlruns").glob("1/*/artifacts"))


def test_a_moved_store_says_where_its_files_are_looked_for(
    client: mlflow.MlflowClient, program: Program, pets: Path, tmp_path: Path
) -> None:
    good(program.entry("shrink"))
    model = client.create_logged_model("0", "model", client.create_run("0").info.run_id)
    client.create_registered_model("pet-unet")
    client.create_model_version("pet-unet", f"models:/{model.model_id}", model_id=model.model_id)
    new = Program(program.folder.rename(tmp_path / "new"), program.cache)
    told = new.refused(1, "train", data=pets, **TINY)
    assert f"looked for in {program.folder}/mlruns/0, which is not there" in told
    assert not program.folder.exists()
    asked = {"images": pets, "output": "o", "model": "models:/pet-unet/1"}
    told = new.refused(1, "predict", **asked, MLFLOW_EXPERIMENT_NAME="own")
    assert f"logged to {program.folder}/mlruns/0/models/" in told
    program.folder.symlink_to(new.folder)
    good(new.entry("prepare", data=pets))


def test_artifacts_may_lie_on_another_disk(program: Program, pets: Path, tmp_path: Path) -> None:
    for folder in (program.folder, tmp_path / "disk"):
        folder.mkdir()
    (program.folder / "mlruns").symlink_to(tmp_path / "disk")
    good(program.entry("prepare", data=pets))
    assert list((tmp_path / "disk").glob("0/*/artifacts/report.txt"))
