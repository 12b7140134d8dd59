"""Addresses of stores as people type them."""

from pathlib import Path

import pytest

from segmentation.tracking.addresses import mistake, remedy

TYPED = {
    "localhost:5000": "http://localhost:5000",
    "localhost": "http://localhost:5000",
    "10.0.0.7:5000/mlflow": "http://10.0.0.7:5000/mlflow",
    "mlflow.example.com": "http://mlflow.example.com",
    "http:/host:5000": "http://host:5000",
    "https//host": "https://host",
    "mlflow.db": "sqlite:///mlflow.db",
    "/data/mlflow.db": "sqlite:////data/mlflow.db",
    "file:runs.sqlite": "sqlite:///runs.sqlite",
    "sqlite:mlflow.db": "sqlite:///mlflow.db",
    "sqlite:/data/mlflow.db": "sqlite:////data/mlflow.db",
    "sqlite://mlflow.db": "sqlite:///mlflow.db",
    "SQLite:///mlflow.db": "sqlite:///mlflow.db",
    "sqlite:///~/x.db": f"sqlite:///{Path.home()}/x.db",
    "sqlite:///$HOME/x.db": f"sqlite:///{Path.home()}/x.db",
    "~/x.db": f"sqlite:///{Path.home()}/x.db",
    "sqlite://": "sqlite:///mlflow.db",
    " ": "sqlite:///mlflow.db",
    "sqlite:///:memory:": "sqlite:///mlflow.db",
    "sqlite:///file::memory:?uri=true": "sqlite:///mlflow.db",
    "postgres://me@host/runs": "postgresql://me@host/runs",
    "'sqlite:///mlflow.db' ": "sqlite:///mlflow.db",
    '"localhost:5000"': "http://localhost:5000",
}
RIGHT = (
    "http://localhost:5000",
    "https://[::1]:5000/mlflow.db",
    "sqlite:///mlflow.db",
    "sqlite:////data/mlflow.db",
    "sqlite:///a%20folder/x",
    "postgresql://me:secret@host:5432/runs.db",
    "mysql+pymysql://me@host/runs",
    "databricks",
    "mlruns",  # MLflow says so itself, unless it was told to take it
    "file:///data/mlruns",
)


@pytest.mark.parametrize("typed", TYPED)
def test_a_mistyped_address_is_told_as_it_must_be(typed: str) -> None:
    found = mistake(typed)
    assert found is not None
    assert found[1] == TYPED[typed]
    assert mistake(found[1]) is None


@pytest.mark.parametrize("typed", RIGHT)
def test_an_address_that_may_be_right_is_left_to_mlflow(typed: str) -> None:
    assert mistake(typed) is None


def test_how_runs_in_files_are_brought_over_is_said() -> None:
    error = RuntimeError("The filesystem tracking backend is in maintenance mode")
    assert "migrate-filestore --source /data/mlruns --" in remedy("file:///data/mlruns", error)
