"""How a registered model lies on disk: one name, two ways to use it, and no pickle.

As MLflow's flavor `pytorch` it is an export (pt2: a graph and its weights) that takes tensors, and
as MLflow's flavor `python_function` it is the file photo_model.py, which takes photos.
"""

import dataclasses
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import PIL
import torch
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec
from torch import nn

from segmentation.config.training import ModelConfig
from segmentation.models.unet import Segmenter
from segmentation.tracking.registry import photo_model

#: What a model of this kind takes and gives, as tensors.
TENSORS = ModelSignature(
    inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, 3, -1, -1))]),
    outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, 1, -1, -1))]),
)
#: Where the export lies within the model.
NETWORK = "artifacts/network"
#: The name under which MLflow keeps the shape of the network beside the model.
SHAPE = "petseg"


def export(segmenter: Segmenter, shape: ModelConfig, threshold: float, folder: Path) -> None:
    """Write a model into a new folder, with the threshold that is used where none is given.

    The segmenter is on the CPU and in eval mode; its weights require no gradient from here on.
    """
    image_size = segmenter.image_size
    known = dataclasses.asdict(shape)
    if known["weights"] != "none":
        known["weights"] = "auto"  # where a file lay is nobody's business
    description = Model(metadata={SHAPE: {**known, "image_size": image_size}})
    with tempfile.TemporaryDirectory() as stage:
        # What is loaded answers then with tensors that NumPy takes.
        _export_network(segmenter.requires_grad_(False), f"{stage}/network")
        photo = photo_model.mask_png(np.random.default_rng(0).random((24, 32)) > 0.5)
        mlflow.pyfunc.save_model(
            str(folder),
            # Not the file itself, whose permissions MLflow would take over.
            python_model=shutil.copyfile(photo_model.__file__, f"{stage}/photo_model.py"),
            artifacts={"network": f"{stage}/network"},
            model_config={photo_model.THRESHOLD: threshold},
            signature=_photos(threshold),
            input_example=pd.DataFrame({"image": [photo]}),
            mlflow_model=description,
            pip_requirements=_requirements(),
        )
    network = Model.load(str(folder / NETWORK)).flavors["pytorch"]
    description.add_flavor("pytorch", **{**network, "model_data": f"{NETWORK}/data"})
    description.save(str(folder / "MLmodel"))


def _photos(threshold: float) -> ModelSignature:
    return ModelSignature(
        inputs=Schema([ColSpec("binary", "image")]),
        outputs=Schema([ColSpec("binary", "mask"), ColSpec("double", "pet_share")]),
        params=ParamSchema(
            [
                ParamSpec("format", "string", "png"),
                # MLflow fills this in where a caller gives none.
                ParamSpec(photo_model.THRESHOLD, "double", threshold),
            ]
        ),
    )


def rehearse() -> None:
    """Export the smallest of networks, to a folder that is gone at once.

    What keeps a model from being exported is better known before its training than after. Most of
    what it takes need not be done again then.
    """
    with tempfile.TemporaryDirectory() as folder:
        _export_network(nn.ReLU(), f"{folder}/network")


def _export_network(model: nn.Module, folder: str) -> None:
    """Write a model's graph and weights, without any pickle, into the new folder `folder`."""
    # Two images, since an example of one would fix the batch size; small, since it is kept as JSON.
    example = np.random.default_rng(0).integers(0, 256, (2, 3, 24, 32), dtype=np.uint8)
    with warnings.catch_warnings():
        # PyTorch's exporter says so of every model whose weights lie in one buffer.
        warnings.filterwarnings("ignore", message="No complete tensor found in the group")
        mlflow.pytorch.save_model(
            model,
            folder,
            signature=TENSORS,
            input_example=example,
            serialization_format="pt2",
            pip_requirements=_requirements(),
        )


def _requirements() -> list[str]:
    """Return what a version needs to be loaded, as pip takes it.

    Named here, since MLflow would guess by loading the model in another process. The exact versions
    matter: an export of one PyTorch need not load in an older one.
    """
    own: dict[str, Any] = {"mlflow": mlflow, "torch": torch, "numpy": np, "pillow": PIL}
    return [f"{name}=={one.__version__.split('+')[0]}" for name, one in own.items()]
