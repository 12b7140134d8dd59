"""Artifacts below an address: whose they are, how much they take, deleted for good."""

from pathlib import Path

import mlflow
from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri

from segmentation.tracking.store import sqlite_path


def in_this_store(address: str) -> bool:
    """Tell whether what lies at an address is provably this tracking store's own.

    A database that was copied or moved still holds the addresses of the first one's files. Of two
    kinds alone it is known whose they are: what a tracking server serves itself, and what lies in
    the folder of an SQLite database.
    """
    if address.startswith("mlflow-artifacts:"):
        return not address.startswith("mlflow-artifacts://")  # with a host it may be another server
    database = sqlite_path(str(mlflow.get_tracking_uri()))
    if database is None or not is_local_uri(address):  # type: ignore[no-untyped-call]
        return False
    path = Path(local_file_uri_to_path(address))  # type: ignore[no-untyped-call]
    return path.resolve().is_relative_to(database.parent.resolve())


def size_at(address: str, path: str = "") -> int:
    """Return the bytes of all artifacts below an address.

    Args:
        address: where MLflow keeps the artifacts of a run or of a model.
        path: of a folder there; empty for all.
    """
    items = get_artifact_repository(address).list_artifacts(path or None)
    return sum(size_at(address, i.path) if i.is_dir else i.file_size or 0 for i in items)


def remove_at(address: str, path: str) -> None:
    """Delete a folder of artifacts below an address."""
    get_artifact_repository(address).delete_artifacts(path)  # type: ignore[no-untyped-call]


def versions_of(run_id: str) -> list[ModelVersion]:
    """Return all versions that were registered of a run, under whatever name."""
    client = mlflow.MlflowClient()
    found = client.search_model_versions(f"run_id='{run_id}'")
    # What is found by searching does not tell the aliases.
    return [client.get_model_version(version.name, version.version) for version in found]


def discard(model: LoggedModel, versions: list[ModelVersion]) -> None:
    """Delete a logged model with its versions, for good.

    The versions go first: should this be cut short, none is left whose model is gone.
    """
    client = mlflow.MlflowClient()
    for version in versions:
        client.delete_model_version(version.name, version.version)
    get_artifact_repository(model.artifact_location).delete_artifacts()  # type: ignore[no-untyped-call]
    client.delete_logged_model(model.model_id)
