"""Artifacts below an address: how much they take, deleted for good."""

import mlflow
from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from PIL import Image


def size_at(address: str, path: str = "") -> int:
    """Return the bytes of all artifacts below an address of MLflow's, or in a folder there."""
    items = get_artifact_repository(address).list_artifacts(path or None)
    return sum(size_at(address, i.path) if i.is_dir else i.file_size or 0 for i in items)


def load_picture(run_id: str, path: str) -> Image.Image:
    """Return an artifact that is a picture."""
    picture: Image.Image = mlflow.artifacts.load_image(f"runs:/{run_id}/{path}")
    return picture


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
    """Delete a logged model with its versions, for good."""
    client = mlflow.MlflowClient()
    for version in versions:  # first: should this be cut short, none is left whose model is gone
        client.delete_model_version(version.name, version.version)
    get_artifact_repository(model.artifact_location).delete_artifacts()  # type: ignore[no-untyped-call]
    client.delete_logged_model(model.model_id)
