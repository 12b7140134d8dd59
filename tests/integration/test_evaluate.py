"""`evaluate` as its user types it: figures that others can compute again, linked to the version."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score, jaccard_score

from tests.helpers.discs import write_discs
from tests.helpers.home import Home
from tests.helpers.programs import good


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """A finished `evaluate` on the test images, and what it left."""

    home: Home
    out: str
    run: Run

    def artifact(self, name: str) -> Path:
        """Download an artifact; return its path."""
        return self.home.download(self.run.info.run_id, f"test/{name}")


@pytest.fixture(scope="module")
def evaluated(home: Home) -> Evaluated:
    done = good(home.entry("evaluate", data=home.data))
    assert "Score: Dice 0." in done.stdout
    assert "none of the 20 test images trained the model" in done.stdout
    (run_id,) = re.findall(r"/runs/(\w+)", done.stdout)
    return Evaluated(home, done.stdout, home.client.get_run(run_id))


def _test_images(data: Path) -> list[str]:
    lines = (data / "annotations" / "test.txt").read_text().splitlines()
    return [line.split()[0] for line in lines]


def scikit_learns(home: Home, output: Path, **options: float) -> dict[str, list[float]]:
    """Let `predict` write masks of the test images, and score them."""
    data = home.data
    good(home.entry("predict", images=data / "images", output=output, **options))
    kinds = {"dice": f1_score, "iou": jaccard_score, "accuracy": accuracy_score}
    scores: dict[str, list[float]] = {kind: [] for kind in kinds}
    for name in _test_images(data):
        with Image.open(output / "masks" / f"{name}.png") as mask:
            predicted = np.array(mask).ravel() == 255
        with Image.open(data / "annotations" / "trimaps" / f"{name}.png") as trimap:
            truth = np.array(trimap).ravel() != 2
        for kind, score in kinds.items():
            scores[kind].append(score(truth, predicted))
    return scores


def test_its_figures_equal_scikit_learns_over_masks(evaluated: Evaluated, tmp_path: Path) -> None:
    home, names = evaluated.home, _test_images(evaluated.home.data)
    own = np.mean(scikit_learns(home, tmp_path / "own")["dice"])
    told = f"at {home.threshold:g}, the model's own, which predictions use, it is {own:.3f}"
    assert told in evaluated.out
    scores = scikit_learns(home, tmp_path / "usual", threshold=0.5)
    metrics = evaluated.run.data.metrics
    assert metrics["test/images"] == len(names) == 20
    for name, values in scores.items():
        assert metrics[f"test/{name}"] == pytest.approx(np.mean(values), abs=1e-6)
    table = pd.read_csv(evaluated.artifact("images.csv"))
    assert table["id"].tolist() == names
    assert table["dice"].tolist() == pytest.approx(scores["dice"], abs=1e-6)


def test_figures_stand_on_the_run_the_model_and_its_version(evaluated: Evaluated) -> None:
    client, metrics = evaluated.home.client, evaluated.run.data.metrics
    version = client.get_model_version_by_alias("pet-unet", "champion")
    assert metrics["test/dice_border_background"] < metrics["test/dice_border_pet"]
    (model,) = evaluated.run.inputs.model_inputs  # type: ignore[union-attr]
    logged = client.get_logged_model(model.model_id)
    assert logged.source_run_id == version.run_id
    linked = {metric.key: metric for metric in logged.metrics or []}
    assert linked["test/dice"].value == metrics["test/dice"]
    assert linked["test/dice"].dataset_name == "pets-test"
    assert version.tags["test.dice"].startswith(f"{metrics['test/dice']:.4f} (")
    assert "20 images" in version.tags["test.dice"]
    assert "**On test.** Dice 0." in str(version.description)
    assert evaluated.run.data.params["model"] == "pet-unet version 1"


def test_the_report_is_one_file_and_every_picture_is_there(evaluated: Evaluated) -> None:
    assert "20 test images" in evaluated.artifact("report.html").read_text()
    plots = [f"plots/{name}.png" for name in ("threshold", "calibration", "scores", "slices")]
    for name in ("worst.jpg", "random.jpg", *plots):
        with Image.open(evaluated.artifact(name)) as picture:
            assert min(picture.size) > 100
    table = json.loads(evaluated.artifact("images.json").read_text())
    assert len(table["data"]) == 20
    assert {"boundary_f", "photo, truth, prediction"} <= set(table["columns"])


def test_on_the_validation_images_it_finds_what_training_found(evaluated: Evaluated) -> None:
    home = evaluated.home
    done = good(home.entry("evaluate", data=home.data, split="val", model="models:/pet-unet/1"))
    assert "6 chose its epoch" in done.stdout
    (run, *_) = home.client.search_runs(["0"], "params.`split` = 'val'")
    best = home.training.data.metrics["best/dice"]
    assert run.data.metrics["val/dice"] == pytest.approx(best, abs=1e-6)


def test_mistakes_are_one_line(evaluated: Evaluated, pets: Path, tmp_path: Path) -> None:
    others = tmp_path / "others"  # other pictures under the same names
    write_discs(others, 170, 20, seed=2)
    for options, text in (
        ({"split": "all"}, "split=all: expected one of test, gate"),
        ({"split": "train", "data": pets}, "give the `data` on which pet-unet version 1"),
        ({"split": "val", "data": others}, "are other pictures than those of the same names"),
    ):
        given = {"data": evaluated.home.data, **options}
        assert text in evaluated.home.refused(2, "evaluate", **given)


def test_each_bad_file_is_named_and_nothing_is_logged(evaluated: Evaluated, own_pets: Path) -> None:
    home, own = evaluated.home, f"params.`data` = '{own_pets}'"  # other tests evaluate there, too
    names = _test_images(own_pets)
    (own_pets / "images" / f"{names[1]}.jpg").write_bytes(b"")
    (own_pets / "annotations" / "trimaps" / f"{names[4]}.png").unlink()
    options = {"data": own_pets, "model": "models:/pet-unet/1"}
    told = home.refused(1, "evaluate", **options)
    for text in ("2 of 10 examples cannot be used", f"{names[1]}.jpg", f"{names[4]}.png"):
        assert text in told
    assert home.client.search_runs(["0"], own) == []
    done = good(home.entry("evaluate", **options, bad_examples="skip"))
    assert len(home.client.search_runs(["0"], own)) == 1
    assert "each a mean over 8 test images" in done.stdout
