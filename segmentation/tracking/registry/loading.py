"""From a model's address to something that answers: ours, or another project's of our signature."""

import contextlib
import dataclasses
import functools
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model as Description
from mlflow.models import ModelSignature
from mlflow.models.model import MODEL_CODE_PATH
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.uri import is_local_uri
from torch import Tensor

from segmentation.data.sources import Source
from segmentation.errors import ConfigError, ModelError, first_line
from segmentation.evaluation.scoring import THRESHOLD
from segmentation.models.predictor import Batched, Model, OneByOne, Photo, Probability, same_answers
from segmentation.models.unet import Segmenter, rebuild_unet
from segmentation.tracking.addresses import mask_password
from segmentation.tracking.registry import photo_model
from segmentation.tracking.registry.export import NETWORK, SHAPE, TENSORS
from segmentation.tracking.runs.inputs import Splits, training_splits
from segmentation.utils.environment import environment

#: MLflow's own loaders of functions that refuse to unpickle when told so, and run no other code but
#: that of a model "from code", which says so.
_SAFE = ("mlflow.pyfunc.model", "mlflow.pytorch")
_ALLOW_PICKLE = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"
_TRUST = (
    "which runs whatever code the model holds; say allow_pickle=true if you trust where it is from"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model that answers, and what is known of it."""

    #: The address that was asked for.
    uri: str
    model: Model
    #: In the registry; empty if it is not there, or was not asked for by name.
    name: str
    version: str
    #: MLflow's, of the training and of the logged model; empty if unknown.
    run_id: str
    model_id: str
    #: That it brings along for predictions, else the one of all scores.
    threshold: float

    @property
    def label(self) -> str:
        """Its name and version, or its address."""
        return f"{self.name} version {self.version}" if self.version else self.uri

    @property
    def address(self) -> str:
        """Where this very model is found again: its version, or what was asked for."""
        if self.version:
            return f"models:/{self.name}/{self.version}"
        return str(Path(self.uri).absolute()) if Path(self.uri).exists() else self.uri

    def __call__(self, photo: Photo) -> Probability:
        """Map uint8 (H, W, 3), RGB, to the probability of foreground, float32 (H, W) in [0, 1]."""
        return next(self.model([photo.copy()]))  # PyTorch wants what may be written

    @functools.cached_property
    def splits(self) -> Splits | None:
        """What it was trained on; None if that is not known."""
        return training_splits(self.run_id)


def load(
    uri: str, device: torch.device | None = None, *, allow_pickle: bool = False
) -> LoadedModel:
    """Load a model by an address such as `models:/pet-unet@champion`.

    Args:
        uri: MLflow's address of a model, or a folder.
        device: where to compute; the CPU if it is not given. Only models of this project move.
        allow_pickle: whether a model may be unpickled, or bring code of its own: either runs
            whatever code it holds.

    Raises:
        ModelError: there is none, it has another signature, or it needs pickle.
    """
    version = _version(uri)
    address = f"models:/{version.name}/{version.version}" if version else uri
    with environment({_ALLOW_PICKLE: str(allow_pickle).lower()}):
        try:
            local = is_local_uri(_location(address))  # type: ignore[no-untyped-call]
            copy = None if local else tempfile.mkdtemp(prefix="petseg-")
            folder = Path(mlflow.artifacts.download_artifacts(address, dst_path=copy))
            description = Description.load(str(folder))
            model = _load_folder(folder, description, uri, device, allow_pickle)
            if copy and "pytorch" in description.flavors:  # a function may still read its files
                shutil.rmtree(copy, ignore_errors=True)
        except ModelError:
            raise
        except Exception as error:  # damaged files make MLflow and PyTorch raise anything
            raise _model_error(uri, error) from error
    return LoadedModel(
        uri=mask_password(uri),
        model=model,
        name=version.name if version else "",
        version=str(version.version) if version else "",
        run_id=(version.run_id if version else "") or description.run_id or "",
        model_id=description.model_id or "",
        threshold=_threshold(description),
    )


def default_model(alias: str, source: Source | None = None) -> str:
    """Return the address of a model by its alias: of real pets, else of drawn ones, else the only.

    If it is to be judged on a source, it is of that kind alone. A ModelError says that there is one
    of real pets, but the data are the drawn ones: nobody wants to compare these, but `data` is
    easily forgotten.
    """
    models = mlflow.search_registered_models()
    known = [one.name for one in models if alias in one.aliases]
    there = [name for name in ("pet-unet", "pet-unet-synthetic") if name in known]
    if source is None:
        return f"models:/{(there or known[: len(known) == 1] or ['pet-unet'])[0]}@{alias}"
    if source.is_synthetic and there == ["pet-unet"]:
        raise ModelError(
            f"the data is the drawn sample, but there is a @{alias} of real pets alone, pet-unet; "
            "give the `data` on which you trained, or the `model`"
        )
    name = source.model_name
    newest = next((one.aliases.get("challenger") for one in models if one.name == name), None)
    if name not in known and newest:
        raise ModelError(f"{name} has no @{alias} yet; say model=models:/{name}/{newest}")
    return f"models:/{name}@{alias}"


def load_export(uri: str) -> Callable[[Tensor], Tensor]:
    """Load an export of ours without pickle, as others do."""
    with environment({_ALLOW_PICKLE: "false"}):
        module: Callable[[Tensor], Tensor] = mlflow.pytorch.load_model(uri)
    return module


def _version(uri: str) -> ModelVersion | None:
    """Find the version that an address names, if it names one."""
    client = mlflow.MlflowClient()
    try:
        if match := re.fullmatch(r"models:/([^/@]+)@([^/@]+)", uri):
            return client.get_model_version_by_alias(*match.groups())
        if match := re.fullmatch(r"models:/([^/@]+)/(\d+)", uri):
            return client.get_model_version(*match.groups())
    except MlflowException as error:
        raise _model_error(uri, error) from error
    return None


def _model_error(uri: str, error: Exception) -> ModelError:
    text, uri = str(error), mask_password(uri)
    if "pickle" in text.lower() and _ALLOW_PICKLE in text:
        return ModelError(f"model={uri}: needs pickle, {_TRUST}")
    if text.startswith("No such artifact") and ":" in uri and (where := _location(uri)):
        return ModelError(
            f"model={uri}: its files were logged to {where}, and are not there; bring them back, "
            "or set MLFLOW_TRACKING_URI (and MLFLOW_REGISTRY_URI, if used) to a store that has them"
        )
    reason = first_line(error)
    if ":" not in uri and not Path(uri).exists():
        reason = f"no such folder; did you mean models:/{Path(uri).name}@champion?"
    return ModelError(
        f"model={uri}: cannot be loaded ({reason}); expected an address such as "
        f"models:/pet-unet@champion, of a whole model. {_models_there_are()}"
    )


def _location(uri: str) -> str:
    """Return where MLflow looks for what lies at an address; empty if that is unknown."""
    with contextlib.suppress(Exception):  # as many kinds as there are addresses
        repository = get_artifact_repository(uri)
        return str(getattr(repository, "repo", repository).artifact_uri)
    return ""


def _models_there_are() -> str:
    place = f"The registry of {mask_password(str(mlflow.get_registry_uri()))}"
    there = []
    try:
        for model in mlflow.MlflowClient().search_registered_models(max_results=20):
            aliases = [f"@{alias} is {version}" for alias, version in sorted(model.aliases.items())]
            there.append(f"{model.name} ({', '.join(aliases) or 'no alias'})")
    except MlflowException:
        return f"{place} cannot be asked"
    if there:
        return f"{place} has {'; '.join(there)}"
    return (
        f"{place} has no model: train one, go to the folder where you did, or set "
        "MLFLOW_TRACKING_URI (MLFLOW_REGISTRY_URI, if the registry is elsewhere)"
    )


def _load_folder(
    folder: Path,
    description: Description,
    uri: str,
    device: torch.device | None,
    allow_pickle: bool,
) -> Model:
    """Load what lies in a folder by the flavor that gives tensors."""
    inner = folder / NETWORK
    signature = Description.load(str(inner)).signature if inner.exists() else description.signature
    if _tensors(signature) != _tensors(TENSORS):
        raise ModelError(
            f"model={uri}: takes and gives {signature or 'nothing that is told'}; expected a "
            "signature of tensors, uint8 (-1, 3, -1, -1) to float32 (-1, 1, -1, -1)"
        )
    flavors = description.flavors
    function = flavors.get("python_function", {})
    unsafe = MODEL_CODE_PATH in function or function.get("loader_module") not in _SAFE
    # Code beside a model is put before all other on Python's path. Ours brings none that is run.
    brings_code = any(flavor.get("code") for flavor in flavors.values())
    if not allow_pickle and (brings_code or ("pytorch" not in flavors and unsafe)):
        raise ModelError(
            f"model={uri}: brings code of its own, or is loaded by something that may unpickle, "
            f"{_TRUST}"
        )
    if damaged := [one.name for one in folder.rglob("*.pt2") if not zipfile.is_zipfile(one)]:
        raise ModelError(f"model={uri}: its file {damaged[0]} is damaged; register it again")
    if "pytorch" in flavors:
        module = mlflow.pytorch.load_model(str(folder))
        return _rebuild(module, description, device) or OneByOne(module, f"model={uri}")
    loaded = mlflow.pyfunc.load_model(str(folder))

    def answer(image: Tensor) -> Tensor:
        return torch.from_numpy(np.array(loaded.predict(image.numpy()), dtype=np.float32))

    return OneByOne(answer, f"model={uri}")


def _rebuild(
    export: torch.nn.Module, description: Description, device: torch.device | None
) -> Model | None:
    """Build our own network with the weights of an export, where it then answers the same.

    It takes photos of different sizes in one batch, and moves to other devices; an export can
    neither.
    """
    shape: Any = (description.metadata or {}).get(SHAPE)
    try:
        segmenter = Segmenter(rebuild_unet(shape), shape["image_size"])
        segmenter.load_state_dict(export.state_dict())
    except (ConfigError, KeyError, TypeError, ValueError, RuntimeError):
        # None, or of another version, of timm's perhaps.
        return None
    segmenter.eval()
    cpu = torch.device("cpu")
    if not same_answers(Batched(segmenter, cpu), OneByOne(export, "the export")):
        return None
    return Batched(segmenter, device or cpu)


def _threshold(description: Description) -> float:
    config = description.flavors.get("python_function", {}).get("config")
    own = config.get(photo_model.THRESHOLD) if isinstance(config, dict) else None
    return own if isinstance(own, float) and 0 < own < 1 else THRESHOLD


def _tensors(signature: ModelSignature | None) -> list[list[tuple[str, tuple[int, ...]]]]:
    """Return types and shapes of the tensors that a model takes and gives, whatever their names."""
    schemas = (signature.inputs, signature.outputs) if signature else ()
    return [
        [(str(spec.type), tuple(spec.shape)) for spec in schema.inputs]
        for schema in schemas
        if schema and schema.is_tensor_spec()
    ]
