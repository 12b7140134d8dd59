"""Logging and registering models."""

import dataclasses
from collections.abc import Mapping

import mlflow
import numpy as np
import torch
from mlflow.data.dataset import Dataset
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.utils import logging_utils

from segmentation.config import ModelConfig
from segmentation.errors import TrackingError
from segmentation.tracking import packing
from segmentation.tracking.loading import load_export
from segmentation.tracking.store import alone
from segmentation.unet import Segmenter

_TOLERANCE = 1e-3
_PROMOTION = "**Promotion.**"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Registered:
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
class Known:
    """What the registry knows of a version.

    Attributes:
        run_id: of the training; empty if unknown.
        tags: by name.
        aliases: sorted.
    """

    run_id: str
    tags: dict[str, str]
    aliases: tuple[str, ...]


def log_model(
    segmenter: Segmenter,
    shape: ModelConfig,
    metrics: Mapping[str, float],
    dataset: Dataset,
    step: int,
) -> str:
    """Export the model into the current run, with its figures linked; return its model id.

    Args:
        segmenter: the trained model; left on the CPU in eval mode.
        shape: of its network.
        metrics: figures of this very model, measured on `dataset`.
        dataset: what they were measured on.
        step: the epoch whose weights these are; MLflow links the metrics of this step.

    Raises:
        TrackingError: the exported model does not answer as the trained one does.
    """
    segmenter = segmenter.cpu().eval()
    info = Model.log(
        None,
        packing,
        name="model",
        step=step,
        metadata=packing.metadata(segmenter, shape),
        segmenter=segmenter,
        validate_serving_input=False,  # what was written is tried below
    )
    # Without a step: the UI then compares runs by bars, not by lines of a single point.
    mlflow.log_metrics(dict(metrics), model_id=info.model_id, dataset=dataset)
    _require_same_answers(segmenter, str(info.model_uri))
    return str(info.model_id)


def register(model_id: str, name: str, description: str, tags: Mapping[str, str]) -> Registered:
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
    return Registered(name=name, version=str(version.version))


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


def challenge(registered: Registered) -> None:
    """Give a version the alias `challenger`."""
    mlflow.MlflowClient().set_registered_model_alias(
        registered.name, "challenger", registered.version
    )


def known_of(name: str, version: str) -> Known:
    """Return what the registry knows of a version.

    Raises:
        TrackingError: there is no such version.
    """
    try:
        found = mlflow.MlflowClient().get_model_version(name, version)
    except MlflowException as error:
        raise TrackingError(f"models:/{name}/{version}: {error.message}") from error
    return Known(
        run_id=found.run_id or "", tags=dict(found.tags), aliases=tuple(sorted(found.aliases))
    )


def champion_of(name: str) -> str | None:
    """Return the version that is champion, if any."""
    version = mlflow.MlflowClient().get_registered_model(name).aliases.get("champion")
    return None if version is None else str(version)


def crown(
    registered: Registered, rival: str | None, *, promoted: bool, reason: str, p_value: float | None
) -> bool:
    """Write a decision down, and move the alias if it says so.

    Args:
        registered: the challenger.
        rival: the version that was champion when it was compared, if any.
        promoted: whether it takes over.
        reason: in words, for its description.
        p_value: of the paired test, if there was one.

    Returns:
        Whether that was done; not, if somebody else has become champion in the meantime.
    """
    client = mlflow.MlflowClient()
    name, version = registered.name, registered.version
    with alone(mlflow.get_tracking_uri()):
        if champion_of(name) != rival:
            return False
        _tell(registered, _PROMOTION, reason)  # first: no champion is to be without a reason
        if promoted:
            client.set_registered_model_alias(name, "champion", version)
        if p_value is not None:
            client.set_model_version_tag(name, version, "promotion.p_value", f"{p_value:.4f}")
        word = "champion" if promoted else "not champion"
        client.set_model_version_tag(name, version, "promotion", word)
    return True


def told(registered: Registered) -> str:
    """Return the decision on a version, as `crown` wrote it down."""
    version = mlflow.MlflowClient().get_model_version(registered.name, registered.version)
    paragraphs = (version.description or "").split("\n\n")
    found = [text for text in paragraphs if text.startswith(_PROMOTION)]
    return found[0].removeprefix(_PROMOTION).strip() if found else ""


def tell(registered: Registered, head: str, text: str) -> None:
    """Put a paragraph into a version's description, in place of one with the same head."""
    with alone(mlflow.get_tracking_uri()):
        _tell(registered, head, text)


def _tell(registered: Registered, head: str, text: str) -> None:
    client = mlflow.MlflowClient()
    told = client.get_model_version(registered.name, registered.version).description or ""
    others = [part.strip() for part in told.split("\n\n") if not part.startswith(head)]
    client.update_model_version(
        registered.name,
        registered.version,
        "\n\n".join([*others, f"{head} {' '.join(text.split())}"]) + "\n",
    )


def introduce(name: str, description: str) -> None:
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
