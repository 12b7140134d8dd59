"""The commands that are printed for a user to type next."""

import itertools
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow

from segmentation.data.oxford_pets import entry
from segmentation.data.sources import Source
from segmentation.tracking.addresses import mask_password, sqlite_path
from segmentation.tracking.registry.versions import VersionRef
from segmentation.tracking.store import studies_folder
from segmentation.utils.paths import printable

_MLPROJECT = Path(__file__).parent.parent.parent / "MLproject"  # `pip install` leaves it out


def mlflow_run(name: str, parameters: Mapping[str, Any]) -> str:
    """Return the command that runs an entry point of this project from where the user stands."""
    project = _MLPROJECT.parent
    if not _MLPROJECT.exists():
        words = [f"--{key}={value}" for key, value in parameters.items()]
        return shlex.join(["petseg", name, *words])
    where = "." if studies_folder().parent == project else shlex.quote(str(project))
    given = "".join(f" -P {shlex.quote(f'{key}={value}')}" for key, value in parameters.items())
    return f"mlflow run {where} -e {name} --env-manager local{given}"


def resume(run_id: str) -> str:
    """Return the command that goes on with a training."""
    return mlflow_run("train", {"resume": run_id})


def recover() -> str:
    """Return the command that uploads later what a training could not."""
    return mlflow_run("recover", {})


def view_run(run_id: str) -> str:
    """Return a run's page in MLflow's UI, below the command that starts the UI where none runs."""
    uri = str(mlflow.get_tracking_uri())
    experiment = mlflow.MlflowClient().get_run(run_id).info.experiment_id
    # A new browser opens MLflow's pages for language models, unless the address says otherwise.
    page = f"/#/experiments/{experiment}/runs/{run_id}?workflowType=machine_learning"
    if uri.startswith(("http:", "https:")):
        return mask_password(uri).rstrip("/") + page
    return f"mlflow ui --backend-store-uri {_quoted(uri)}\n       http://127.0.0.1:5000{page}"


def after_training(version: VersionRef, run_id: str, source: Source) -> list[str]:
    """Return the last lines: a model, where it is seen, loaded, judged and used for masks."""
    split = {} if source.test() else {"split": "gate"}
    return [
        f"Model: {version.summary()}",
        f"Look:  {view_run(run_id)}",
        f'Load:  mlflow.pytorch.load_model("{version.uri}")',
        f"Next:  {mlflow_run('evaluate', {'model': version.uri, **source.options, **split})}",
        f"       {predict_with(version.uri, source)}",
    ]


def predict_with(uri: str, source: Source) -> str:
    """Return the command by which a model writes masks of a data set's photos."""
    # Where the command that is printed will run.
    folder = _MLPROJECT.parent if _MLPROJECT.exists() else Path()
    names = itertools.chain(["masks"], (f"masks-{number}" for number in itertools.count(2)))
    output = next(name for name in names if not (folder / name).exists())
    photos = {"images": printable(str(entry(source.root, "images"))), "output": output}
    return mlflow_run("predict", {"model": uri, **photos})


def _quoted(uri: str) -> str:
    """Return a database's address so that it holds in any folder."""
    path = sqlite_path(uri)
    return shlex.quote(f"sqlite:///{path}" if path else mask_password(uri))
