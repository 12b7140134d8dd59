"""`train` as its user types it: a run in a real store, a version in the registry."""

import json
import re
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from mlflow.entities import Run
from PIL import Image

from segmentation.data.images.examples import binary_mask
from segmentation.tracking.registry.loading import load_export
from tests.helpers.programs import PROJECT, TINY, Program


class Trained:
    """A finished `mlflow run . -e train`, and what it left."""

    def __init__(self, program: Program, data: Path) -> None:
        parameters = [f"-P{name}={value}" for name, value in TINY.items()]
        command = ["mlflow", "run", str(PROJECT), "-e", "train", "--env-manager", "local"]
        self.data, self.program = data, program
        self.done = program.run(*command, f"-Pdata={data}", "-Plr=1e-3", *parameters)
        self.client = mlflow.MlflowClient(program.store)

    @property
    def run(self) -> Run:
        """The one run in the store."""
        (run,) = self.client.search_runs(["0"])
        return run

    def artifact(self, name: str) -> str:
        """Download an artifact; return its path."""
        return str(self.client.download_artifacts(self.run.info.run_id, name))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, pets: Path) -> Trained:
    folder = tmp_path_factory.mktemp("train")
    return Trained(Program(folder / "work", folder / "cache"), pets)


def test_the_console_says_which_data_what_it_scored_and_what_to_type_next(
    trained: Trained,
) -> None:
    assert trained.done.returncode == 0, trained.done.stderr
    lines = trained.done.stdout.splitlines()
    assert lines[0] == f"Data: {trained.data}"
    score, champion, look, how_to_load = lines[-4:]
    assert re.match(r"(Not c|C)hampion: gate Dice 0\.\d{3} on 14 images; ", champion)
    assert score.startswith("Score: Dice 0.")
    assert "each a mean over 6 validation images" in score
    assert "answering 'pet' everywhere scores Dice 0." in score
    assert f"/runs/{trained.run.info.run_id}" in look
    assert 'mlflow.pytorch.load_model("models:/pet-unet/1")' in how_to_load
    noise = [
        line
        for line in trained.done.stderr.splitlines()
        if "mlflow.projects" not in line and "mlflow.store.db" not in line
    ]
    assert noise == []


def test_every_epoch_has_every_figure_once(trained: Trained) -> None:
    names = {
        "train/loss",
        "train/lr",
        "train/images_per_second",
        "val/loss",
        "val/dice",
        "val/accuracy",
        "val/iou",
        "val/dice_pooled",
    }
    assert names <= set(trained.run.data.metrics)
    for name in names:
        points = trained.client.get_metric_history(trained.run.info.run_id, name)
        assert [point.step for point in points] == [1, 2, 3], name


def test_final_figures_stand_beside_their_floors_and_number_of_images(trained: Trained) -> None:
    figures = trained.run.data.metrics
    assert figures["best/images"] == 6
    assert 1 <= figures["best/epoch"] <= 3
    assert figures["best/dice_low"] <= figures["best/dice"] <= figures["best/dice_high"]
    val = json.loads(Path(trained.artifact("splits.json")).read_text())["val"]
    masks = [
        binary_mask(np.asarray(Image.open(_trimap(trained.data, name))), "pet")[0] for name in val
    ]
    shares = np.array([mask.mean() for mask in masks])
    assert figures["floor/dice_all_pet"] == pytest.approx((2 * shares / (1 + shares)).mean())
    assert figures["floor/accuracy_all_background"] == pytest.approx(1 - shares.mean())


def test_the_registered_model_gives_the_tracked_figures_again(trained: Trained) -> None:
    mlflow.set_tracking_uri(trained.program.store)
    model = load_export("models:/pet-unet@challenger")
    val = json.loads(Path(trained.artifact("splits.json")).read_text())["val"]
    dice = []
    for name in val:
        photo = np.array(Image.open(trained.data / "images" / f"{name}.jpg").convert("RGB"))
        truth = np.asarray(Image.open(_trimap(trained.data, name))) != 2
        with torch.inference_mode():
            probability = model(torch.from_numpy(photo).permute(2, 0, 1)[None])
        said = probability[0, 0].numpy() > 0.5
        total = said.sum() + truth.sum()
        dice.append(2 * (said & truth).sum() / total if total else 1.0)
    assert np.mean(dice) == pytest.approx(trained.run.data.metrics["best/dice"], abs=1e-3)


def _trimap(data: Path, name: str) -> Path:
    return data / "annotations" / "trimaps" / f"{name}.png"


def test_the_whole_configuration_is_logged_beside_what_was_typed(trained: Trained) -> None:
    params = trained.run.data.params
    assert params["lr"] == "1e-3"  # as MLflow logged what was typed
    assert params["training.lr"] == "0.001"
    assert params["model.width"] == "4"
    assert params["data.border"] == "pet"
    tags = trained.run.data.tags
    assert tags["amp"].startswith(("bf16", "fp32"))
    assert tags["device"] in ("cpu", "cuda", "mps")
    assert tags["git.dirty"] in ("true", "false")
    assert tags["data.source"] == str(trained.data)
    assert "**Dice 0." in tags["mlflow.note.content"]
    assert tags["mlflow.runName"] == "w4 lr0.001 seed0 3ep pets-12 d3 32px"
    inputs = {i.tags[0].value: i.dataset for i in trained.run.inputs.dataset_inputs}  # type: ignore[union-attr]
    assert set(inputs) == {"training", "validation"}
    assert tags["data.digest"] == inputs["training"].digest


def test_pictures_tables_and_system_metrics_are_there(trained: Trained) -> None:
    run_id = trained.run.info.run_id
    sliders = [item.path for item in trained.client.list_artifacts(run_id, "images")]
    assert len([path for path in sliders if path.endswith(".png")]) == 5 * (3 + 1)
    table = json.loads(Path(trained.artifact("val/images.json")).read_text())
    assert len(table["data"]) == 6
    dice = [row[table["columns"].index("dice")] for row in table["data"]]
    assert np.mean(dice) == pytest.approx(trained.run.data.metrics["best/dice"], abs=1e-3)
    for name in ("val/worst.jpg", "curves.png"):
        assert np.asarray(Image.open(trained.artifact(name)).convert("L")).std() > 10


def test_the_version_has_signature_description_tags_aliases_and_linked_metrics(
    trained: Trained,
) -> None:
    (version,) = trained.client.search_model_versions("name='pet-unet'")
    figures = trained.run.data.metrics
    assert version.run_id == trained.run.info.run_id
    assert float(version.tags["dice"]) == pytest.approx(figures["best/dice"], abs=1e-4)
    assert version.tags["run"] == trained.run.info.run_id
    assert version.tags["data.digest"] == trained.run.data.tags["data.digest"][:12]
    for told in ("CC BY-SA 4.0", "uint8 RGB", "mlflow.pytorch.load_model"):
        assert told in str(version.description)
    assert "each a mean over 6 validation images" in str(version.description)
    model = trained.client.get_registered_model("pet-unet")
    assert "CC BY-SA 4.0" in str(model.description)
    aliases: dict[str, int] = dict(model.aliases)
    assert aliases["challenger"] == 1
    above = (
        figures["best/dice"] > figures["floor/dice_all_pet"]
        and figures["best/accuracy"] > figures["floor/accuracy_all_background"]
    )
    assert ("NOT above that" in trained.done.stdout) == (not above)
    above = (
        figures["gate/dice"] > figures["gate/floor_dice"]
        and figures["gate/accuracy"] > figures["gate/floor_accuracy"]
    )
    assert ("champion" in aliases) == above
    logged = trained.client.get_logged_model(str(version.source).rpartition("/")[2])
    linked = {metric.key: metric for metric in logged.metrics or []}
    assert linked["best/dice"].value == figures["best/dice"]
    assert linked["val/dice"].step == figures["best/epoch"]


def test_the_same_command_gives_the_same_figures(program: Program, pets: Path) -> None:
    results = []
    for workers in (0, 2):
        done = program.entry("train", **TINY, data=pets, loader_workers=workers)
        assert done.returncode == 0, done.stderr
        results.append(next(line for line in done.stdout.splitlines() if "Score" in line))
    assert results[0] == results[1]
    runs = mlflow.MlflowClient(program.store).search_runs(["0"])
    assert len(runs) == 2
    for name, value in runs[0].data.metrics.items():
        if "second" not in name and not name.startswith("system"):
            assert runs[1].data.metrics[name] == value, name
