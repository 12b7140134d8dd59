"""What is registered: without pickle, and with an answer for who asks for what is not there."""

import shutil
import zipfile
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.models import Model
from mlflow.types import ParamSchema, ParamSpec
from PIL import Image

from segmentation.errors import ModelError
from segmentation.tracking.registry.export import TENSORS
from segmentation.tracking.registry.loading import load
from tests.helpers.home import Home
from tests.helpers.in_process import isolated
from tests.helpers.programs import documented, good


def test_the_documented_lines_turn_a_photo_into_a_mask(home: Home, tmp_path: Path) -> None:
    photo = sorted((home.data / "images").iterdir())[0]
    shutil.copy(photo, tmp_path / "photo.jpg")
    code = documented("predicting.md", "mlflow.pytorch.load_model")
    with isolated(tmp_path, home.environment(MLFLOW_TRACKING_URI=home.store)):
        exec(code, {})  # noqa: S102
    with Image.open(tmp_path / "mask.png") as mask, Image.open(photo) as image:
        assert mask.size == image.size
        assert mask.mode == "1"


def test_what_is_loaded_answers_without_gradient_and_says_what_not_to_call(home: Home) -> None:
    mlflow.set_tracking_uri(home.store)
    model = mlflow.pytorch.load_model("models:/pet-unet@challenger")
    assert model(torch.zeros(1, 3, 40, 50, dtype=torch.uint8)).numpy().shape == (1, 1, 40, 50)
    with pytest.raises(Exception, match="Guard failed"):
        model(torch.zeros(40, 50, 3, dtype=torch.uint8))
    for told in ("`.eval()`", "`Guard failed`", "pet-unet@champion"):
        assert told in home.client.get_registered_model("pet-unet").description
    photo = sorted((home.data / "images").iterdir())[0].read_bytes()
    function = mlflow.pyfunc.load_model("models:/pet-unet@challenger")
    photos = pd.DataFrame({"image": [photo, bytearray(photo), memoryview(photo)]})
    assert function.predict(photos, {"threshold": None})["mask"].nunique() == 1


@pytest.mark.parametrize("old", [False, True])
def test_by_default_its_own_threshold_is_used_or_0_5(home: Home, tmp_path: Path, old: bool) -> None:
    mlflow.set_tracking_uri(home.store)
    model = Path(mlflow.artifacts.download_artifacts("models:/pet-unet/1", dst_path=str(tmp_path)))
    if old:
        described = Model.load(str(model))
        del described.flavors["python_function"]["config"]
        described.signature.params = ParamSchema([ParamSpec("threshold", "double", 0.5)])
        described.save(str(model / "MLmodel"))
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/elsewhere.db")
    photo = sorted((home.data / "images").iterdir())[0]
    with Image.open(photo) as image:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        probability = mlflow.pytorch.load_model(str(model))(pixels)
    share = float((probability > (0.5 if old else home.threshold)).float().mean())
    photos = pd.DataFrame({"image": [photo.read_bytes()]})
    function = mlflow.pyfunc.load_model(model)
    for params in ({}, {"threshold": None}):
        assert function.predict(photos, params)["pet_share"][0] == pytest.approx(share)
    done = good(home.entry("predict", images=photo, output=tmp_path / "o", model=model))
    assert f"on average {share:.1%} is foreground" in done.stdout
    assert ("Threshold: " in done.stdout) != old


def test_it_holds_no_pickle(home: Home, tmp_path: Path) -> None:
    mlflow.set_tracking_uri(home.store)
    folder = mlflow.artifacts.download_artifacts("models:/pet-unet/1", dst_path=str(tmp_path))
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix in (".pkl", ".pth", ".pt", ".pickle")]
    (export,) = [path for path in files if path.suffix == ".pt2"]
    with zipfile.ZipFile(export) as archive:
        assert not [name for name in archive.namelist() if name.endswith((".pkl", ".pickle"))]
        contents = [archive.read(name)[:2] for name in archive.namelist()]
    assert not [content for content in contents if content in (b"\x80\x02", b"\x80\x04")]


class Red(torch.nn.Module):
    """Of another project, with our signature: redness as the probability of pet."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image[:, :1].float() / 255


def test_a_pickled_model_is_refused_unless_it_is_asked_for(client: mlflow.MlflowClient) -> None:
    mlflow.pytorch.log_model(
        Red(),
        name="m",
        registered_model_name="pickled",
        serialization_format="pickle",
        pip_requirements=[],
        signature=TENSORS,
    )
    with pytest.raises(ModelError, match=r"models:/pickled/1: needs pickle.*allow_pickle=true"):
        load("models:/pickled/1")
    loaded = load("models:/pickled/1", allow_pickle=True)
    photo = np.full((5, 7, 3), (51, 0, 0), np.uint8)
    (probability,) = list(loaded.model([photo]))
    assert probability == pytest.approx(np.full((5, 7), 0.2))
    assert loaded.label == "pickled version 1"


def test_a_model_that_is_not_there_is_told_with_those_that_are(home: Home) -> None:
    mlflow.set_tracking_uri(home.store)
    for address in ("models:/pet-unet@best", "models:/pet-unet/7", "models:/cat", "runs:/0/model"):
        with pytest.raises(ModelError) as error:
            load(address)
        assert f"model={address}: cannot be loaded" in str(error.value)
        assert "pet-unet (@challenger is 1" in str(error.value)
