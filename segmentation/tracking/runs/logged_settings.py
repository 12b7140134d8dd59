"""The settings of a training as its run has them, whichever version has logged it."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow

from segmentation.config.fields import declared
from segmentation.config.training import GROUPS, OF_OWN, OWN_DATA, OWN_ENCODER, defaults
from segmentation.data.augmentation.pipeline import digest_of, keep
from segmentation.tracking.tags import AUGMENTATION, SETTINGS, read

#: The artifact of a run that holds a pipeline of a person's own.
PIPELINE = "augment.json"
#: What runs of earlier versions call each setting, by the parameter's name: there it stands as it
#: was used, and under the parameter's name stands what was typed, or `''`.
EARLIER = {
    one.option: f"{part}.{one.name}" for part, group in GROUPS.items() for one in declared(group)
}
EARLIER["model_name"] = "model.name"
# What runs of earlier versions did not log, since it could not be otherwise.
_FORMERLY = {"encoder": OWN_ENCODER, "weights": "auto", "encoder_lr": "0.0"} | {
    name: str(defaults()[name]) for name in OWN_DATA
}


def is_augmentation(file: Any, tags: Mapping[str, str]) -> bool:
    """Tell whether a file holds the pipeline with which a run of these tags augments."""
    return digest_of(str(file)) == tags.get(AUGMENTATION)


def augmentation(run_id: str, augment: Any, tags: Mapping[str, str]) -> Any:
    """Return a run's `augment`, or its own artifact where the file has gone or has changed."""
    if AUGMENTATION not in tags or is_augmentation(augment, tags):
        return augment
    client = mlflow.MlflowClient()
    if PIPELINE not in [item.path for item in client.list_artifacts(run_id)]:
        return augment
    with tempfile.TemporaryDirectory() as folder:
        return keep(Path(client.download_artifacts(run_id, PIPELINE, folder)).read_bytes())


def kept(tags: Mapping[str, str]) -> dict[str, Any]:
    """Return the parameters that a run of `train` keeps, by name; nothing of another run."""
    try:
        found = json.loads(read(tags).get(SETTINGS, ""))
    except ValueError:
        return {}
    found = _FORMERLY | found if isinstance(found, dict) else {}
    return found if set(EARLIER) - {"model_name"} <= set(found) else {}


def used(params: Mapping[str, str], tags: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of a training as they were used, by the parameters' names."""
    told = {
        "data": tags.get("data.source"),
        "device": tags.get("device"),
        "precision": tags.get("amp", "").partition(" ")[0],  # behind it stands why
    }
    earlier = {name: params.get(then) for name, then in EARLIER.items()}
    found: dict[str, Any] = dict(_FORMERLY)
    # The launcher logs what was typed, such as `data=auto`, also epochs that a budget overrules.
    for known in (params, kept(tags), told, earlier):
        found |= {name: one for name, one in known.items() if one not in ("", "''", None)}
    if found["encoder"] != OWN_ENCODER:
        found = {name: defaults()[name] for name in OF_OWN} | found
    return {name: str(found[name]) for name in EARLIER if name in found}
