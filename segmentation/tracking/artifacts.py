"""How much of the store models and files take, and models deleted for good."""

from collections.abc import Set

import mlflow
from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from segmentation.tracking.store import store_lock


def size_at(address: str, path: str = "") -> int:
    """Return the bytes of all artifacts below an address.

    Args:
        address: where MLflow keeps the artifacts of a run or of a model.
        path: of a folder there; empty for all.
    """
    return _size(get_artifact_repository(address), path)


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


def discard_unless_wanted(model: LoggedModel, known: Set[tuple[str, str]]) -> bool:
    """Delete a logged model with its versions, unless somebody has begun to want it.

    Args:
        model: whose versions nobody wanted when they were looked at.
        known: name and number of each of these.

    Returns:
        Whether it was deleted: not if a version has an alias now, or is a new one, or if its run
        goes on.
    """
    run_id = str(model.source_run_id)
    with store_lock(mlflow.get_tracking_uri()):  # champions are made under the same lock
        try:
            mlflow.MlflowClient().get_logged_model(model.model_id)  # raises if it was deleted
            versions = versions_of(run_id)
            now = {(version.name, str(version.version)) for version in versions}
            aliased = any(version.aliases for version in versions)
            if now - known or aliased or _goes_on(run_id):
                return False
            discard(model, versions)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":  # somebody else has deleted it
                return False
            raise
    return True


def _goes_on(run_id: str) -> bool:
    """Tell whether a run is there that has not ended."""
    try:
        return str(mlflow.get_run(run_id).info.status) == "RUNNING"
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise


def _size(there: ArtifactRepository, path: str) -> int:
    return sum(
        _size(there, item.path) if item.is_dir else item.file_size or 0
        for item in there.list_artifacts(path or None)
    )
