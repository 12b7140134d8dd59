"""`train`: a run in a real store, a version in the registry."""

import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.drawing import broken_drawing
from tests.helpers.home import Home
from tests.helpers.programs import DISCS, TINY, Program, good


def test_the_console_says_which_data_what_it_scored_and_what_to_type_next(home: Home) -> None:
    lines = home.out.splitlines()
    assert lines[0] == f"Data: {home.data}, in the layout of Oxford-IIIT Pet"
    own = [line for line in lines if line.startswith(f"Threshold: {home.threshold:g}, ")]
    assert bool(own) == (home.threshold != 0.5)
    *_, score, champion, model, look, page, how_to_load, judge, predict = (
        line for line in lines if line not in own
    )
    assert re.match(r"Champion: gate Dice 0\.\d{3} on \d\d images; ", champion)
    assert re.match(r"Score: Dice 0\.\d{3} \(95 % interval 0.* on 6 validation images; ", score)
    assert "NOT above" not in score
    assert model == "Model: pet-unet version 1, @challenger, @champion"
    assert look.startswith("Look:  mlflow ui --backend-store-uri ")
    assert f"/runs/{home.run_id}" in page
    assert how_to_load == 'Load:  mlflow.pytorch.load_model("models:/pet-unet/1")'
    assert judge.startswith("Next:  mlflow run ")
    given = "--env-manager local -P model=models:/pet-unet/1"
    assert f"-e evaluate {given} -P data={home.data}" in judge
    assert f"-e predict {given} -P images={home.data}" in predict


def test_every_epoch_has_every_figure_once(home: Home) -> None:
    scores = ("loss", "dice", "accuracy", "iou", "dice_pooled")
    of_training = [f"train/{name}" for name in ("loss", "lr", "images_per_second")]
    for name in (*of_training, *(f"val/{score}" for score in scores)):
        points = home.client.get_metric_history(home.run_id, name)
        assert [point.step for point in points] == list(range(1, 15)), name
    figures = home.training.data.metrics
    assert figures["best/images"] == 6
    assert figures["best/dice_low"] <= figures["best/dice"] <= figures["best/dice_high"]
    assert 0 < figures["floor/dice_all_pet"] < figures["best/dice_low"]


def test_the_whole_configuration_is_logged(home: Home) -> None:
    params = home.training.data.params
    assert params["lr"] == "0.01"
    assert params["width"] == "4"
    assert params["border"] == "pet"
    assert not [name for name in params if "." in name]
    tags = home.training.data.tags
    assert tags["amp"].startswith(("bf16", "fp32"))
    assert tags["device"] in ("cpu", "cuda", "mps")
    assert tags["git.dirty"] in ("true", "false")
    assert tags["data.source"] == str(home.data)
    page = tags["mlflow.note.content"]
    assert "**Dice 0." in page
    assert f"[`val/worst.jpg`](#/experiments/0/runs/{home.run_id}/artifacts/val/worst.jpg)" in page
    score = f"{home.training.data.metrics['best/dice']:.4f}"
    assert tags["mlflow.runName"] == f"train {score} w4 lr0.01 seed0 14ep pets-30 d3 32px"
    inputs = {i.tags[0].value: i.dataset for i in home.training.inputs.dataset_inputs}  # type: ignore[union-attr]
    assert set(inputs) == {"training", "validation"}
    assert tags["data.digest"] == inputs["training"].digest


def test_pictures_tables_and_system_metrics_are_there(home: Home) -> None:
    run_id = home.run_id
    glances = [item.path for item in home.client.list_artifacts(run_id, "images")]
    for name in ("pets", "curves"):
        start = f"images/at a glance~{name}+step+0+"
        shown, whole = sorted(path for path in glances if path.startswith(start))
        assert (shown[-5:], whole[-4:]) == (".webp", ".png")
        with Image.open(home.artifact(shown)) as picture:  # which MLflow shows
            assert min(picture.size) > 600
    table = json.loads(home.artifact("val/images.json").read_text())
    assert len(table["data"]) == 6
    dice = [row[table["columns"].index("dice")] for row in table["data"]]
    assert np.mean(dice) == pytest.approx(home.training.data.metrics["best/dice"], abs=1e-3)
    for name in ("val/worst.jpg", "val/progress.jpg", "curves.png"):
        assert np.asarray(Image.open(home.artifact(name)).convert("L")).std() > 10


def test_the_version_has_description_tags_aliases_and_linked_metrics(home: Home) -> None:
    version = home.client.get_model_version("pet-unet", "1")
    figures = home.training.data.metrics
    assert version.run_id == home.run_id
    assert float(version.tags["dice"]) == pytest.approx(figures["best/dice"], abs=1e-4)
    assert version.tags["run"] == home.run_id
    assert version.tags["data.digest"] == home.training.data.tags["data.digest"][:12]
    for told in ("CC BY-SA 4.0", "mlflow.pytorch.load_model", "a mean over 6 validation images"):
        assert told in str(version.description)
    model = home.client.get_registered_model("pet-unet")
    assert dict(model.aliases) == {"challenger": 1, "champion": 1}
    logged = home.client.get_logged_model(str(version.source).rpartition("/")[2])
    metrics = logged.metrics or []  # an evaluation's, too, where a test has judged it before
    linked = {metric.key: metric for metric in metrics if metric.run_id == home.run_id}
    assert linked["best/dice"].value == figures["best/dice"]
    assert linked["val/dice"].step == figures["best/epoch"]


def test_a_diverging_training_fails_and_registers_nothing(program: Program, own_pets: Path) -> None:
    # 1e30 is no sane rate: validation refuses it. The largest allowed one, with a huge decay,
    # multiplies the weights by -99 at each step until they overflow.
    options = {**TINY, "epochs": "40", "lr": "9.99", "weight_decay": "9.99", "ema": "0"}
    told = program.refused(1, "train", **options, data=own_pets, precision="fp32")
    assert "loss became" in told
    assert "nothing was registered" in told
    assert program.the_run.info.status == "FAILED"
    assert "loss became" in program.the_run.data.tags["failure"]
    assert program.client.search_registered_models() == []


def test_photos_that_change_meanwhile_are_not_scored(program: Program, own_pets: Path) -> None:
    class Change(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("Training "):  # the data is loaded by now
                for path in (own_pets / "images").iterdir():
                    Image.open(path).save(path, quality=20)

    log, change = logging.getLogger("segmentation.workflows.train"), Change()
    log.addHandler(change)
    try:
        told = program.refused(1, "train", **TINY, data=own_pets)
    finally:
        log.removeHandler(change)
    assert ".jpg: was changed while it was in use" in told
    assert program.client.search_registered_models() == []


def test_a_training_within_a_budget_logs_its_plan(program: Program, discs: Path) -> None:
    done = good(program.entry("train", **DISCS, data=discs, budget="3s"))
    (planned,) = re.findall(r"^Budget: (\d+) epochs? in \d+ s of training$", done.stdout, re.M)
    run = program.the_run
    assert run.data.params["epochs"] == planned
    asked, *changes = run.data.tags["budget"].split("; ")
    assert asked == "3 s"
    end = changes[-1] if changes else f"to {planned} after"
    (epochs,) = re.findall(r"to (\d+) after", end)
    history = program.client.get_metric_history(run.info.run_id, "val/dice")
    assert [point.step for point in history] == list(range(1, int(epochs) + 1))
    assert f" {epochs}ep " in run.info.run_name


def test_training_and_evaluation_end_well_without_pictures(program: Program, pets: Path) -> None:
    def artifacts_without_pictures(name: str, **options: object) -> set[str]:
        with broken_drawing():
            done = good(program.entry(name, **options, data=pets))
        told = [line for line in done.stderr.splitlines() if line.startswith("Not drawn: ")]
        assert told
        assert all(line.endswith(" (OSError: no fonts)") for line in told)
        run = program.runs()[0]
        assert run.info.status == "FINISHED"
        folder = program.download(run.info.run_id, "")
        assert not [path for path in folder.rglob("*") if path.suffix in (".png", ".jpg")]
        return {str(path.relative_to(folder)) for path in folder.rglob("*")}

    assert {"splits.json", "val/images.json"} <= artifacts_without_pictures("train", **TINY)
    assert program.client.get_registered_model("pet-unet").aliases
    left = artifacts_without_pictures("evaluate", model="models:/pet-unet/1", split="gate")
    assert {"gate/report.html", "gate/images.csv", "gate/images.json"} <= left
    assert "gate.dice" in program.client.get_model_version("pet-unet", "1").tags
