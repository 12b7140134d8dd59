"""`evaluate` as its user types it: figures that others can compute again, linked to the version."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from mlflow.entities import Run
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score, jaccard_score

from tests.helpers.discs import write_discs
from tests.helpers.home import Home


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """A finished `evaluate` on the test images, and what it left."""

    home: Home
    out: str
    run: Run

    def artifact(self, name: str) -> Path:
        """Download an artifact; return its path."""
        return Path(self.home.client.download_artifacts(self.run.info.run_id, name))


@pytest.fixture(scope="module")
def evaluated(home: Home) -> Evaluated:
    done = home.entry("evaluate", data=home.data)
    assert done.returncode == 0, done.stderr
    (run_id,) = re.findall(r"/runs/(\w+)", done.stdout)
    return Evaluated(home, done.stdout, home.client.get_run(run_id))


def _tested(data: Path) -> list[str]:
    """The names of the official test list."""
    lines = (data / "annotations" / "test.txt").read_text().splitlines()
    return [line.split()[0] for line in lines]


def test_its_figures_equal_scikit_learns_over_the_masks_that_predict_writes(
    evaluated: Evaluated, tmp_path: Path
) -> None:
    data = evaluated.home.data
    names = _tested(data)
    done = evaluated.home.entry("predict", images=data / "images", output=tmp_path)
    assert done.returncode == 0, done.stderr
    scores: dict[str, list[float]] = {"dice": [], "iou": [], "accuracy": []}
    for name in names:
        with Image.open(tmp_path / "masks" / f"{name}.png") as mask:
            said = np.array(mask).ravel() == 255
        with Image.open(data / "annotations" / "trimaps" / f"{name}.png") as trimap:
            truth = np.array(trimap).ravel() != 2
        scores["dice"].append(f1_score(truth, said))
        scores["iou"].append(jaccard_score(truth, said))
        scores["accuracy"].append(accuracy_score(truth, said))
    figures = evaluated.run.data.metrics
    assert figures["test/images"] == len(names) == 20
    for name, values in scores.items():
        assert figures[f"test/{name}"] == pytest.approx(np.mean(values), abs=1e-6)
    table = np.genfromtxt(
        evaluated.artifact("test/images.csv"), delimiter=",", names=True, dtype=None, encoding=None
    )
    assert table["id"].tolist() == names
    assert table["dice"] == pytest.approx(scores["dice"], abs=1e-6)


def test_figures_stand_on_the_run_the_model_and_its_version(evaluated: Evaluated) -> None:
    client = evaluated.home.client
    version = client.get_model_version_by_alias("pet-unet", "champion")
    figures = evaluated.run.data.metrics
    assert figures["test/dice_low"] <= figures["test/dice"] <= figures["test/dice_high"]
    assert figures["test/dice_border_background"] < figures["test/dice_border_pet"]
    assert figures["test/images_cat"] + figures["test/images_dog"] == 20
    inputs = client.get_run(evaluated.run.info.run_id).inputs
    assert inputs is not None
    (model,) = inputs.model_inputs
    logged = client.get_logged_model(model.model_id)
    assert logged.source_run_id == version.run_id
    linked = {metric.key: metric for metric in logged.metrics or []}
    assert linked["test/dice"].value == figures["test/dice"]
    assert linked["test/dice"].dataset_name == "pets-test"
    assert version.tags["test.dice"].startswith(f"{figures['test/dice']:.4f} (")
    assert "20 images" in version.tags["test.dice"]
    assert evaluated.run.data.params["evaluation.model"] == "pet-unet version 1"


def test_the_report_is_one_file_and_every_picture_is_there(evaluated: Evaluated) -> None:
    page = evaluated.artifact("test/report.html").read_text()
    sources = re.findall(r'\ssrc="([^"]{0,30})', page)
    assert len(sources) >= 6
    assert all(source.startswith("data:image/") for source in sources)
    assert "20 test images" in page
    names = ["worst.jpg", "random.jpg", *(f"plots/{n}.png" for n in ("threshold", "calibration"))]
    for name in names:
        with Image.open(evaluated.artifact(f"test/{name}")) as picture:
            assert min(picture.size) > 100
    table = json.loads(evaluated.artifact("test/images.json").read_text())
    assert len(table["data"]) == 20
    assert "boundary_f" in table["columns"]
    assert "photo, truth, prediction" in table["columns"]


def test_the_console_says_what_matters_and_what_to_do_next(evaluated: Evaluated) -> None:
    out = evaluated.out
    assert "Score: Dice 0." in out
    assert "none of the 20 test images trained the model" in out
    assert f"/runs/{evaluated.run.info.run_id}" in out


def test_other_splits_and_what_the_model_has_seen_of_them(evaluated: Evaluated) -> None:
    home, data = evaluated.home, evaluated.home.data
    done = home.entry("evaluate", data=data, split="val", model="models:/pet-unet/1")
    assert done.returncode == 0, done.stderr
    assert "6 chose its epoch" in done.stdout
    (run, *_) = evaluated.home.client.search_runs(["0"], "params.`evaluation.split` = 'val'")
    best = home.training.data.metrics["best/dice"]
    assert run.data.metrics["val/dice"] == pytest.approx(best, abs=1e-6)


def test_mistakes_are_told_in_one_line(evaluated: Evaluated, pets: Path, tmp_path: Path) -> None:
    others = tmp_path / "others"  # other pictures under the same names
    write_discs(others, 170, 20, seed=2)
    for options, code, text in (
        ({"split": "all"}, 2, "'all' is not one of"),
        ({"model": "models:/pet-unet@best"}, 1, "model=models:/pet-unet@best: cannot be loaded"),
        ({"split": "train", "data": pets}, 2, "give the `data` on which pet-unet version 1"),
        ({"split": "val", "data": others}, 2, "are other pictures than those of the same names"),
        ({"data": "nowhere"}, 1, "nowhere"),
    ):
        done = evaluated.home.entry("evaluate", **{"data": evaluated.home.data, **options})
        assert done.returncode == code, done.stderr
        assert text in done.stderr


def test_every_bad_file_is_named_and_nothing_is_logged(
    evaluated: Evaluated, own_pets: Path
) -> None:
    evaluations = "params.`evaluation.split` LIKE '%'"
    before = len(evaluated.home.client.search_runs(["0"], evaluations))
    names = _tested(own_pets)
    (own_pets / "images" / f"{names[1]}.jpg").write_bytes(b"")
    (own_pets / "annotations" / "trimaps" / f"{names[4]}.png").unlink()
    done = evaluated.home.entry("evaluate", data=own_pets, model="models:/pet-unet/1")
    assert done.returncode == 1
    assert "2 of 10 examples cannot be used" in done.stderr
    assert f"{names[1]}.jpg" in done.stderr
    assert f"{names[4]}.png" in done.stderr
    assert len(evaluated.home.client.search_runs(["0"], evaluations)) == before
    options = {"data": own_pets, "model": "models:/pet-unet/1", "bad_examples": "skip"}
    done = evaluated.home.entry("evaluate", **options)
    assert done.returncode == 0, done.stderr
    assert "each a mean over 8 test images" in done.stdout
