"""Who becomes champion, of real models."""

import dataclasses
import re
import shutil
from pathlib import Path

import pytest

from segmentation.data.oxford_pets import read_lists
from segmentation.data.splits import in_gate
from segmentation.evaluation.promotion_rule import LEVEL
from tests.helpers.discs import write_discs
from tests.helpers.programs import DISCS, Program, good


@dataclasses.dataclass(frozen=True)
class Registry(Program):
    """Where a mediocre model of discs is version 1."""

    data: Path

    def decision(self, name: str, **options: object) -> str:
        """Run an entry point; return what it says of the champion."""
        done = good(self.entry(name, **{"data": self.data, **options}))
        (line,) = re.findall(r"^(?:Not c|C)hampion: .*$", done.stdout, re.MULTILINE)
        return str(line)

    def train(self, epochs: int, **options: object) -> str:
        return self.decision("train", **{**DISCS, "epochs": epochs, **options})

    def champion(self) -> str:
        return str(self.client.get_registered_model("pet-unet").aliases.get("champion"))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, discs: Path) -> Registry:
    made = Registry.under(tmp_path_factory.mktemp("registry"), discs)
    said = made.train(epochs=5)
    assert "Champion: gate Dice" in said
    assert "the first one above the trivial baselines" in said
    return made


def test_of_real_models_the_better_takes_over_and_the_worse_does_not(registry: Registry) -> None:
    assert "better by the paired test" in registry.train(epochs=14)
    assert registry.champion() == "2"
    worse = registry.train(epochs=5, seed=1)
    assert "not shown to be better" in worse
    assert registry.champion() == "2"
    client = registry.client
    version = client.get_model_version("pet-unet", "3")
    assert version.tags["promotion"] == "not champion"
    assert f"**Promotion.** {worse}" in str(version.description)
    run = client.get_run(str(version.run_id))
    assert run.data.tags["promotion"] == worse
    assert run.data.metrics["gate/difference"] < 0 < LEVEL < run.data.metrics["gate/p_value"]
    assert run.data.metrics["gate/images"] == len(_gate(registry.data)) >= 30

    forced = registry.decision("promote", model="models:/pet-unet/3", force="true")
    assert "as `force` says" in forced
    assert registry.champion() == "3"
    page = registry.runs()[0].data.tags["mlflow.note.content"]
    assert page.startswith("**Champion is [version 3 of pet-unet](#/models/pet-unet/versions/3).**")
    assert forced in page.splitlines()
    assert str(client.get_model_version("pet-unet", "3").description).count("**Promotion.**") == 1

    for number in (1, 2):
        registry.decision("promote", model=f"models:/pet-unet/{number}")
    assert registry.champion() == "2"

    # A champion that no longer loads keeps its place until a person decides.
    source = str(client.get_model_version("pet-unet", "2").source)
    model = client.get_logged_model(source.rpartition("/")[2])
    (export,) = Path(model.artifact_location).rglob("*.pt2")
    export.write_bytes(export.read_bytes()[:1000])
    said = registry.decision("promote", model="models:/pet-unet/1")
    assert "version 2 could not be judged" in said
    assert registry.champion() == "2"


def test_images_that_the_champion_has_seen_do_not_count(registry: Registry, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_discs(other, 60, 0, seed=9)
    (other / "annotations" / "test.txt").unlink()
    gate = _gate(registry.data)
    seen = sorted((other / "images").iterdir())
    taken = [path for path in seen if path.stem not in {e.stem for e in _gate(other)}][:36]
    for source, target in zip(gate[:3], taken[:3], strict=True):
        shutil.copy(source, target)  # under another name
        trimaps = [path.parents[1] / "annotations" / "trimaps" for path in (source, target)]
        shutil.copy(trimaps[0] / f"{source.stem}.png", trimaps[1] / f"{target.stem}.png")
    lines = "".join(f"{path.stem} 1 1 1\n" for path in taken)
    (other / "annotations" / "trainval.txt").write_text(lines)
    registry.train(epochs=5, data=other, train_images=30, val_images=6)
    said = registry.decision("promote", data=other, force="true")
    assert "no image of the gate split" in said
    newest = str(registry.client.get_registered_model("pet-unet").aliases["challenger"])
    registry.client.set_registered_model_alias("pet-unet", "champion", newest)
    said = registry.decision("promote", model="models:/pet-unet/1")
    assert f"on {len(gate) - 3} images against" in said
    assert f"Version {newest} was trained on other images. 3 gate images are left out" in said


def _gate(data: Path) -> list[Path]:
    return [example.image for example in read_lists(data)["trainval"] if in_gate(example)]
