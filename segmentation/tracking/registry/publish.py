"""Logging and registering models."""

import dataclasses
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch
from mlflow.data.dataset import Dataset
from mlflow.entities import LoggedModel, LoggedModelStatus, Metric, Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.utils import logging_utils

from segmentation.config.training import ModelConfig
from segmentation.errors import TrackingError
from segmentation.models.unet import Segmenter
from segmentation.tracking.registry import export
from segmentation.tracking.registry.loading import load_export
from segmentation.tracking.store import store_lock

#: What is raised where the store cannot be reached, or cannot do what is asked.
StoreError = MlflowException

_TOLERANCE = 1e-3
_PROMOTION = "**Promotion.**"
_CHAMPION = "champion"


@dataclasses.dataclass(frozen=True, kw_only=True)
class VersionRef:
    """A version in MLflow's registry.

    Attributes:
        name, version: of the registered model.
    """

    name: str
    version: str

    @property
    def uri(self) -> str:
        """Return the address for MLflow's `load_model`."""
        return f"models:/{self.name}/{self.version}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class VersionInfo:
    """What the registry knows of a version.

    Attributes:
        run_id: of the training; empty if unknown.
        tags: by name.
        aliases: sorted.
    """

    run_id: str
    tags: dict[str, str]
    aliases: tuple[str, ...]


def pack(segmenter: Segmenter, shape: ModelConfig, folder: Path) -> None:
    """Export the model into a folder, and make sure that what lies there is the same model.

    Args:
        segmenter: the trained model; left on the CPU in eval mode.
        shape: of its network.
        folder: made anew, what lies there is removed.

    Raises:
        TrackingError: the exported model does not answer as the trained one does.
    """
    segmenter = segmenter.cpu().eval()
    shutil.rmtree(folder, ignore_errors=True)
    export.pack(segmenter, shape, folder)
    _require_same_answers(segmenter, str(folder))


def as_posted(
    metrics: Mapping[str, float],
    dataset: Dataset,
    step: int,
    registration: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what `deliver` needs to know of a packed model, as JSON can hold it.

    Args:
        metrics: figures of this very model, measured on `dataset`.
        dataset: what they were measured on.
        step: the epoch whose weights these are; MLflow links the metrics of this step.
        registration: the arguments of `register` but for the model's id, and `introduction`, the
            description of the registered model itself; None: it is not registered.
    """
    told = dataset.to_dict()
    return {
        "metrics": {name: float(value) for name, value in metrics.items()},
        "dataset": {"name": told["name"], "digest": told["digest"]},
        "step": step,
        "registration": None if registration is None else dict(registration),
    }


def deliver(run_id: str, facts: Mapping[str, Any], folder: Path) -> None:
    """Log the model that lies packed in the folder `model`, and register it, each but once.

    Args:
        run_id: of the training.
        facts: see `as_posted`.
        folder: holds the folder `model`.
    """
    client = mlflow.MlflowClient()
    run = client.get_run(run_id)
    model = _whole_model(run)
    if model is None:
        model = client.create_logged_model(
            run.info.experiment_id, name="model", source_run_id=run_id, params=run.data.params
        )
        packed = folder / "model"
        Model.log(
            None,
            export.PackedFlavor,
            model_id=model.model_id,
            run_id=run_id,
            step=facts["step"],
            metadata=Model.load(str(packed)).metadata,
            folder=packed,
            validate_serving_input=False,  # `pack` has tried what it wrote
        )
    linked_already = client.get_logged_model(model.model_id).metrics or []
    if not facts["metrics"].keys() & {metric.key for metric in linked_already}:
        now = int(time.time() * 1000)
        # MLflow writes the run's points before the model's: those of a killed process are there
        # already, and the same time makes the same points of these.
        times = {
            key: client.get_metric_history(run_id, key)[0].timestamp
            for key in facts["metrics"].keys() & run.data.metrics.keys()
        }
        linked = {
            "model_id": model.model_id,
            "dataset_name": facts["dataset"]["name"],
            "dataset_digest": facts["dataset"]["digest"],
            "run_id": run_id,
        }
        # Without a step: the UI then compares runs by bars, not by lines of a single point.
        figures = [
            Metric(key, value, times.get(key, now), 0, **linked)
            for key, value in facts["metrics"].items()
        ]
        client.log_batch(run_id, metrics=figures)
    if (registration := facts["registration"]) is not None:
        registered = register(
            model.model_id,
            registration["name"],
            registration["description"],
            registration["tags"],
        )
        _challenge_if_newest(registered)
        describe_model(registered.name, registration["introduction"])


def logged_model(run_id: str) -> str:
    """Return the id of the model that a run has logged.

    Raises:
        TrackingError: it has none.
    """
    model = _whole_model(mlflow.MlflowClient().get_run(run_id))
    if model is None:
        raise TrackingError(f"run {run_id} has no model in the tracking store")
    return str(model.model_id)


def registered_from(run_id: str, name: str) -> VersionRef:
    """Return the version that `deliver` has registered from a training.

    Raises:
        TrackingError: there is none.
    """
    version = _known(name, {"run": run_id})
    if version is None:
        raise TrackingError(f"run {run_id} has no version of {name} in the registry")
    return VersionRef(name=name, version=str(version.version))


def _whole_model(run: Run) -> LoggedModel | None:
    """Return the model that a run has logged, if any; what a killed process left of one goes."""
    client = mlflow.MlflowClient()
    found = client.search_logged_models(
        [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"
    )
    whole = [model for model in found if model.status == LoggedModelStatus.READY]
    for model in found:
        if model not in whole:
            client.delete_logged_model(model.model_id)
    return whole[0] if whole else None


def register(model_id: str, name: str, description: str, tags: Mapping[str, str]) -> VersionRef:
    """Register a logged model, without any alias; never twice for one run and purpose (tags)."""
    client = mlflow.MlflowClient()
    version = _known(name, tags)
    if version is None:
        logging_utils.disable_logging()  # type: ignore[no-untyped-call]  # it prints two lines of its own
        try:
            version = mlflow.register_model(f"models:/{model_id}", name, tags=dict(tags))
        finally:
            logging_utils.enable_logging()  # type: ignore[no-untyped-call]
    if not version.description:
        client.update_model_version(name, version.version, description=description)
    return VersionRef(name=name, version=str(version.version))


def registered_runs(name: str, study: str) -> set[str]:
    """Return the ids of the runs of whose trials a whole version is there, given a study's id."""
    found: set[str] = set()
    token: str | None = None
    while token != "":
        page = mlflow.MlflowClient().search_model_versions(
            f"name='{name}' AND tags.`study.id` = '{study}'", page_token=token
        )
        found |= {
            str(version.run_id)
            for version in page
            if version.tags.get("purpose") == "trial" and version.description
        }
        token = page.token or ""
    return found


def _known(name: str, tags: Mapping[str, str]) -> ModelVersion | None:
    """Return the version that was registered from a run for a purpose, if any."""
    found = mlflow.MlflowClient().search_model_versions(f"run_id='{tags['run']}'")
    for version in found:  # MLflow cannot filter by a tag and a run at once
        if version.name == name and version.tags.get("purpose") == tags.get("purpose"):
            return version
    return None


def _challenge_if_newest(registered: VersionRef) -> None:
    """Give a version the alias `challenger`, unless a newer one has it: this may come late."""
    aliases = mlflow.MlflowClient().get_registered_model(registered.name).aliases
    if int(aliases.get("challenger", 0)) <= int(registered.version):
        challenge(registered)


def challenge(registered: VersionRef) -> None:
    """Give a version the alias `challenger`."""
    mlflow.MlflowClient().set_registered_model_alias(
        registered.name, "challenger", registered.version
    )


def version_info(name: str, version: str) -> VersionInfo:
    """Return what the registry knows of a version.

    Raises:
        TrackingError: there is no such version.
    """
    try:
        found = mlflow.MlflowClient().get_model_version(name, version)
    except MlflowException as error:
        raise TrackingError(f"models:/{name}/{version}: {error.message}") from error
    return VersionInfo(
        run_id=found.run_id or "", tags=dict(found.tags), aliases=tuple(sorted(found.aliases))
    )


def champion_of(name: str) -> str | None:
    """Return the version that is champion, if any."""
    version = mlflow.MlflowClient().get_registered_model(name).aliases.get("champion")
    return None if version is None else str(version)


def make_champion(
    registered: VersionRef,
    rival: str | None,
    *,
    promoted: bool,
    reason: str,
    p_value: float | None,
    log: Callable[[], None],
) -> bool:
    """Write a decision down, and move the alias if it says so.

    The alias moves last: whoever is killed on the way can decide again.

    Args:
        registered: the challenger.
        rival: the version that was champion when it was compared, if any.
        promoted: whether it takes over.
        reason: in words, for its description.
        p_value: of the paired test, if there was one.
        log: writes the decision where else it belongs, once it stands.

    Returns:
        Whether that was done; not, if somebody else has become champion in the meantime.
    """
    client = mlflow.MlflowClient()
    name, version = registered.name, registered.version
    with store_lock(mlflow.get_tracking_uri()):
        if champion_of(name) != rival:
            return False
        log()
        _tell(registered, _PROMOTION, reason)  # no champion is to be without a reason
        if p_value is not None:
            client.set_model_version_tag(name, version, "promotion.p_value", f"{p_value:.4f}")
        word = _CHAMPION if promoted else f"not {_CHAMPION}"
        client.set_model_version_tag(name, version, "promotion", word)
        if promoted:
            client.set_registered_model_alias(name, _CHAMPION, version)
    return True


def recorded_decision(registered: VersionRef) -> str | None:
    """Return the decision on a version in words; None where `make_champion` did not end."""
    known = version_info(registered.name, registered.version)
    word = known.tags.get("promotion")
    if word is None or (word == _CHAMPION and _CHAMPION not in known.aliases):
        return None
    return read_note(registered)


def read_note(registered: VersionRef) -> str:
    """Return the decision on a version, as `make_champion` wrote it down."""
    version = mlflow.MlflowClient().get_model_version(registered.name, registered.version)
    paragraphs = (version.description or "").split("\n\n")
    found = [text for text in paragraphs if text.startswith(_PROMOTION)]
    return found[0].removeprefix(_PROMOTION).strip() if found else ""


def write_note(registered: VersionRef, head: str, text: str) -> None:
    """Put a paragraph into a version's description, in place of one with the same head."""
    with store_lock(mlflow.get_tracking_uri()):
        _tell(registered, head, text)


def _tell(registered: VersionRef, head: str, text: str) -> None:
    client = mlflow.MlflowClient()
    told = client.get_model_version(registered.name, registered.version).description or ""
    others = [part.strip() for part in told.split("\n\n") if not part.startswith(head)]
    client.update_model_version(
        registered.name,
        registered.version,
        "\n\n".join([*others, f"{head} {' '.join(text.split())}"]) + "\n",
    )


def describe_model(name: str, description: str) -> None:
    """Describe the registered model itself, where nobody has yet."""
    client = mlflow.MlflowClient()
    if not client.get_registered_model(name).description:
        client.update_registered_model(name, description)


def _require_same_answers(segmenter: Segmenter, uri: str) -> None:
    """Load what was just logged and compare it with the trained model on an odd size."""
    image = np.random.default_rng(1).integers(0, 256, (1, 3, 301, 457), dtype=np.uint8)
    with torch.inference_mode():
        trained, loaded = (
            segmenter(torch.from_numpy(image)),
            load_export(uri)(torch.from_numpy(image)),
        )
    difference = float((trained - loaded).abs().max())
    if not difference <= _TOLERANCE:
        raise TrackingError(
            f"the exported model answers otherwise than the trained one (by {difference:g}); it "
            "was not registered"
        )
