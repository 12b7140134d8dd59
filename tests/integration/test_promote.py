"""Who becomes champion, of real models."""

import re
import shutil
from pathlib import Path

import mlflow
import pytest

from segmentation.evaluation.promotion_rule import LEVEL
from tests.helpers.discs import SMALL, write_discs
from tests.helpers.programs import Program, good


class Registry:
    def __init__(self, program: Program, data: Path) -> None:
        self.program, self.data = program, data

    def train(self, epochs: int, **options: object) -> str:
        """Train; return what was said of the champion."""
        done = good(
            self.program.entry("train", **{**SMALL, "data": self.data, **options}, epochs=epochs)
        )
        return _decision(done.stdout)

    def champion(self) -> str:
        client = mlflow.MlflowClient(self.program.store)
        return str(client.get_registered_model("pet-unet").aliases.get("champion"))

    def tag(self, version: str, name: str) -> str | None:
        client = mlflow.MlflowClient(self.program.store)
        return client.get_model_version("pet-unet", version).tags.get(name)


def _decision(out: str) -> str:
    (line,) = re.findall(r"^(?:Not c|C)hampion: .*$", out, re.MULTILINE)
    return str(line)


@pytest.fixture
def registry(program: Program, discs: Path) -> Registry:
    return Registry(program, discs)


def test_of_real_models_the_better_takes_over_and_the_worse_does_not(registry: Registry) -> None:
    first = registry.train(epochs=5)
    assert "Champion: gate Dice" in first
    assert "the first one above the trivial baselines" in first
    assert "better by the paired test" in registry.train(epochs=14)
    assert registry.champion() == "2"
    worse = registry.train(epochs=5, seed=1)
    assert "not shown to be better" in worse
    assert registry.champion() == "2"
    assert registry.tag("3", "promotion") == "not champion"
    client = mlflow.MlflowClient(registry.program.store)
    version = client.get_model_version("pet-unet", "3")
    assert f"**Promotion.** {worse}" in str(version.description)
    run = client.get_run(str(version.run_id))
    assert run.data.tags["promotion"] == worse
    assert run.data.metrics["gate/difference"] < 0 < LEVEL < run.data.metrics["gate/p_value"]
    assert run.data.metrics["gate/images"] == len(_gate(registry.data)) >= 30

    force = {"model": "models:/pet-unet/3", "data": registry.data, "force": "true"}
    done = good(registry.program.entry("promote", **force))
    assert "as `force` says" in _decision(done.stdout)
    assert registry.champion() == "3"
    (promoted, *_) = client.search_runs(["0"])
    page = promoted.data.tags["mlflow.note.content"]
    assert page.startswith("**Champion is [version 3 of pet-unet](#/models/pet-unet/versions/3).**")
    assert _decision(done.stdout) in page.splitlines()
    assert str(client.get_model_version("pet-unet", "3").description).count("**Promotion.**") == 1

    for number in (1, 2):
        again = {"model": f"models:/pet-unet/{number}", "data": registry.data}
        assert registry.program.entry("promote", **again).returncode == 0
    assert registry.champion() == "2"

    # A champion that no longer loads keeps its place until a person decides.
    (model,) = [
        m
        for m in client.search_logged_models(["0"])
        if m.source_run_id == (client.get_model_version("pet-unet", "2").run_id)
    ]
    (export,) = Path(model.artifact_location).rglob("*.pt2")
    export.write_bytes(export.read_bytes()[:1000])
    done = good(registry.program.entry("promote", model="models:/pet-unet/1", data=registry.data))
    assert "version 2 could not be judged" in _decision(done.stdout)
    assert registry.champion() == "2"


def test_images_that_the_champion_has_seen_do_not_count(registry: Registry, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_discs(other, 60, 0, seed=9)
    gate = _gate(registry.data)
    seen = sorted((other / "images").iterdir())
    taken = [path for path in seen if path.stem not in {e.stem for e in _gate(other)}][:36]
    for source, target in zip(gate[:3], taken[:3], strict=True):
        shutil.copy(source, target)  # under another name
        trimaps = [path.parents[1] / "annotations" / "trimaps" for path in (source, target)]
        shutil.copy(trimaps[0] / f"{source.stem}.png", trimaps[1] / f"{target.stem}.png")
    keep = {path.stem for path in taken}
    lines = (other / "annotations" / "trainval.txt").read_text().splitlines()
    (other / "annotations" / "trainval.txt").write_text(
        "\n".join(line for line in lines if line.split()[0] in keep) + "\n"
    )
    (other / "annotations" / "test.txt").unlink()
    registry.train(epochs=5, data=other, train_images=30, val_images=6)
    done = registry.program.entry("promote", data=other, force="true")
    assert "no image of the gate split" in _decision(done.stdout)
    client = mlflow.MlflowClient(registry.program.store)
    client.set_registered_model_alias("pet-unet", "champion", "1")
    said = registry.train(epochs=14)
    assert f"on {len(gate) - 3} images against" in said
    assert "Version 1 was trained on other images. 3 gate images are left out" in said


def _gate(data: Path) -> list[Path]:
    from segmentation.data.oxford_pets import read_list
    from segmentation.data.splits import in_gate

    return [example.image for example in read_list(data, "trainval") if in_gate(example)]
