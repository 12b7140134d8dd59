"""`train` when something is wrong."""

import contextlib
import sqlite3
from pathlib import Path

import mlflow
import pytest

from segmentation.tracking.store import connect
from tests.helpers.programs import TINY, Program

BAD = {
    "unknown choice": ({"border": "half"}, 2, "border=half: expected one of"),
    "no number": ({"epochs": "ten"}, 2, "epochs=ten: expected a whole number, at least 1"),
    "out of range": ({"lr": "nan", "width": "0"}, 2, "width=0: expected a whole number"),
    "seed too large": ({"seed": "99999999999999999999"}, 2, "seed=99999999999999999999: expected"),
    "model name": ({"model_name": "a/b"}, 2, "model_name=a/b: expected a name without"),
    "no such home": ({"data": "~nobody-of-this-name/x"}, 2, "give an absolute path"),
    "too many images": ({"train_images": "1000"}, 2, "train_images=1000: there are"),
    "no folder": ({"data": "nowhere"}, 1, "nowhere: expected a folder in the layout"),
    "no server": (
        {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"},
        1,
        "tracking store http://127.0.0.1:9 cannot be used",
    ),
    "no driver": ({"MLFLOW_TRACKING_URI": "mysql://a:secret@127.0.0.1/x"}, 1, "mysql://a:***@127"),
    "no store folder": (
        {"MLFLOW_TRACKING_URI": "sqlite:////proc/nothing/mlflow.db"},
        1,
        "cannot be used",
    ),
    "no cache folder": ({"PETSEG_CACHE": "/proc/nothing", "data": "synthetic"}, 1, "/proc/nothing"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_gives_one_clear_error_and_no_run(
    program: Program, pets: Path, case: str
) -> None:
    changes, code, message = BAD[case]
    surroundings = {name: value for name, value in changes.items() if name.isupper()}
    options = {name: value for name, value in changes.items() if not name.isupper()}
    done = program.entry_with("train", surroundings, **{"data": pets, **TINY, **options})
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert message in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    if (program.folder / "mlflow.db").exists():
        assert mlflow.MlflowClient(program.store).search_runs(["0"]) == []


def test_a_diverging_training_is_failed_with_its_reason_and_registers_nothing(
    program: Program, own_pets: Path
) -> None:
    # 1e30 is no sane rate: validation refuses it. The largest allowed one, with a huge decay,
    # multiplies the weights by -99 at each step until they overflow.
    options = {**TINY, "epochs": "40", "lr": "9.99", "weight_decay": "9.99", "ema": "0"}
    done = program.entry("train", **options, data=own_pets, precision="fp32")
    assert done.returncode == 1, done.stdout
    assert "loss became" in done.stderr
    assert "nothing was registered" in done.stderr
    client = mlflow.MlflowClient(program.store)
    (run,) = client.search_runs(["0"])
    assert run.info.status == "FAILED"
    assert "loss became" in run.data.tags["failure"]
    assert client.search_registered_models() == []


def test_a_store_whose_making_was_killed_is_made_anew(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    program.folder.mkdir()
    half = program.folder / "mlflow.db-making"
    with contextlib.closing(sqlite3.connect(half)) as connection:
        connection.execute("CREATE TABLE experiments (experiment_id INTEGER)")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", program.store)
    connect()
    assert [one.name for one in mlflow.MlflowClient(program.store).search_experiments()] == [
        "Default"
    ]
    assert not half.exists()
