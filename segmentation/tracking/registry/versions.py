"""Registered versions: what the registry knows of one, registered once, described."""

import dataclasses
from collections.abc import Mapping

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.utils import logging_utils

from segmentation.errors import TrackingError
from segmentation.tracking.store import store_lock


@dataclasses.dataclass(frozen=True, kw_only=True)
class VersionRef:
    """A version in MLflow's registry, by name and number."""

    name: str
    version: str

    @property
    def uri(self) -> str:
        """Return the address for MLflow's `load_model`."""
        return f"models:/{self.name}/{self.version}"

    def look_up(self) -> ModelVersion:
        return mlflow.MlflowClient().get_model_version(self.name, self.version)

    def summary(self) -> str:
        """Say in a line what it is called, with the aliases that it has by now."""
        aliases = "".join(f", @{alias}" for alias in sorted(self.look_up().aliases))
        return f"{self.name} version {self.version}{aliases}"


def register(
    model_id: str, name: str, description: str, tags: Mapping[str, str], introduction: str
) -> VersionRef:
    """Register a logged model, without any alias; never twice for one run and purpose (tags).

    `introduction` describes the registered model itself, where nobody has yet.
    """
    client = mlflow.MlflowClient()
    version = _find(name, tags["run"], tags.get("purpose"))
    if version is None:
        logging_utils.disable_logging()  # type: ignore[no-untyped-call]  # it prints two lines of its own
        try:
            version = mlflow.register_model(f"models:/{model_id}", name, tags=dict(tags))
        finally:
            logging_utils.enable_logging()  # type: ignore[no-untyped-call]
    if not version.description:
        client.update_model_version(name, version.version, description=description)
    if not client.get_registered_model(name).description:
        client.update_registered_model(name, introduction)
    return VersionRef(name=name, version=str(version.version))


def registered_from(run_id: str, name: str) -> VersionRef:
    """Return the version that was registered from a training."""
    version = _find(name, run_id, None)
    if version is None:
        raise TrackingError(f"run {run_id} has no version of {name} in the registry")
    return VersionRef(name=name, version=str(version.version))


def registered_runs(name: str, study: str) -> set[str]:
    """Return the ids of the runs of whose trials a whole version is there, given a study's id."""
    found = mlflow.search_model_versions(filter_string=f"tags.`study.id` = '{study}'")
    return {
        str(version.run_id)
        for version in found  # a filter could not take every name
        if version.name == name and version.tags.get("purpose") == "trial" and version.description
    }


def _find(name: str, run_id: str, purpose: str | None) -> ModelVersion | None:
    """Return the version that was registered from a run for a purpose, if any."""
    found = mlflow.MlflowClient().search_model_versions(f"run_id='{run_id}'")
    # MLflow cannot filter by a tag and a run at once.
    return next((v for v in found if v.name == name and v.tags.get("purpose") == purpose), None)


def read_note(ref: VersionRef, head: str) -> str:
    """Return the paragraph of a version's description that begins with `head`, without that."""
    paragraphs = (ref.look_up().description or "").split("\n\n")
    found = [text for text in paragraphs if text.startswith(head)]
    return found[0].removeprefix(head).strip() if found else ""


def write_note(ref: VersionRef, head: str, text: str) -> None:
    """Put a paragraph into a version's description, in place of one with the same head."""
    client = mlflow.MlflowClient()
    with store_lock(mlflow.get_tracking_uri()):
        paragraphs = (ref.look_up().description or "").split("\n\n")
        others = [part.strip() for part in paragraphs if not part.startswith(head)]
        description = "\n\n".join([*others, f"{head} {' '.join(text.split())}"]) + "\n"
        client.update_model_version(ref.name, ref.version, description)
