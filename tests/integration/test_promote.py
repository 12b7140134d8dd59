"""Who becomes champion: the rule by hand-computed numbers and by simulation, then real models."""

import io
import re
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest

from segmentation.evaluation.promotion_rule import LEVEL, Contest, decide
from segmentation.evaluation.scoring import Evaluation
from segmentation.metrics.segmentation import Counts
from segmentation.metrics.significance import better_by_chance
from tests.helpers.discs import SMALL, write_discs
from tests.helpers.programs import Program, entry_command


def test_the_chance_of_so_good_a_difference_equals_the_one_counted_by_hand() -> None:
    # Of the 8 ways to set the signs of 0.1, 0.2 and 0.3, one gives 0.6 and one gives 0.4.
    assert better_by_chance(np.array([0.1, 0.2, 0.3])) == pytest.approx(1 / 8, abs=0.01)
    assert better_by_chance(np.array([-0.1, 0.2, 0.3])) == pytest.approx(2 / 8, abs=0.01)
    assert better_by_chance(np.array([-0.1, -0.2, -0.3])) == 1
    assert better_by_chance(np.zeros(40)) == 1


def test_a_handful_of_images_never_suffices() -> None:
    assert better_by_chance(np.full(4, 0.5)) > LEVEL
    assert better_by_chance(np.full(6, 0.5)) < LEVEL


@pytest.mark.parametrize("images", [10, 46])
@pytest.mark.parametrize("noise", ["normal", "heavy tails", "rare failures"])
def test_of_equal_models_the_rule_promotes_no_more_than_it_says(images: int, noise: str) -> None:
    generator = np.random.default_rng(3)
    pairs, wrong = 2000, 0
    for _ in range(pairs):
        hard = generator.beta(8, 2, images)  # how easy each image is, for both models alike
        scores = []
        for _ in range(2):
            own = generator.standard_t(2, images) if noise == "heavy tails" else None
            own = generator.standard_normal(images) if own is None else own
            score = hard + 0.05 * own
            if noise == "rare failures":
                score = np.where(generator.random(images) < 0.05, 0, score)
            scores.append(score.clip(0, 1))
        wrong += better_by_chance(scores[0] - scores[1]) <= LEVEL
    allowed = LEVEL + 2 * np.sqrt(LEVEL * (1 - LEVEL) / pairs)
    assert wrong / pairs <= allowed
    assert wrong / pairs >= 0.02  # it could not promote anything otherwise


def test_a_challenger_with_rare_bad_failures_is_mostly_kept_out() -> None:
    """A little better on 95 % of images, far worse on 5 %, and no better on average."""
    generator = np.random.default_rng(5)
    wrong = 0
    for _ in range(400):
        failed = generator.random(100) < 0.05
        differences = np.where(failed, -0.38, 0.02) + generator.normal(0, 0.03, 100)
        wrong += better_by_chance(differences) <= LEVEL
    assert wrong / 400 <= LEVEL


def test_of_models_of_which_one_is_better_the_rule_mostly_sees_it() -> None:
    generator = np.random.default_rng(4)
    seen = sum(better_by_chance(generator.normal(0.02, 0.04, 46)) <= LEVEL for _ in range(300))
    assert seen / 300 > 0.8


def evaluation(*dice: float) -> Evaluation:
    """Images of 1000 pixels, 400 of them pet, that score such Dice, without false positives."""
    tp = np.array([round(400 * d / (2 - d)) for d in dice])
    counts = Counts(tp=tp, fp=np.zeros_like(tp), fn=400 - tp, tn=np.full_like(tp, 600))
    return Evaluation(split="gate", examples=(), counts=counts)


GOOD, FAIR = evaluation(*[0.9] * 32), evaluation(*[0.8] * 32)
POOR = evaluation(*[0.5] * 32)  # below Dice 0.571 of answering `pet` everywhere


ALONE = Contest(challenger=GOOD, champion=None, incumbent=None)
AGAINST = Contest(challenger=GOOD, champion=FAIR, incumbent="version 1")
BROKEN = Contest(challenger=GOOD, champion=None, incumbent="version 1", trouble="gone")


@pytest.mark.parametrize(
    ("contest", "force", "promoted", "text"),
    [
        (ALONE, False, True, "the first one above the floors"),
        (replace(ALONE, challenger=POOR), False, False, "not above the floors"),
        (replace(ALONE, challenger=None), False, False, "no image of the gate split"),
        (AGAINST, False, True, "better by the paired test"),
        (replace(AGAINST, challenger=FAIR), False, False, "not shown to be better"),
        (replace(AGAINST, challenger=FAIR), True, True, "as `force` says"),
        (replace(AGAINST, challenger=POOR), True, False, "not above the floors"),
        (replace(AGAINST, num_candidates=1000), False, False, "0.05 over 1000 looks"),
        (
            replace(AGAINST, challenger=evaluation(*[0.9] * 20), champion=evaluation(*[0.8] * 20)),
            False,
            False,
            "too few images to tell: at least 30",
        ),
        (replace(AGAINST, unknown=True), False, False, "not known which images"),
        (BROKEN, False, False, "version 1 could not be judged: gone"),
        (BROKEN, True, True, "as `force` says"),
    ],
)
def test_each_case_of_the_rule(contest: Contest, force: bool, promoted: bool, text: str) -> None:
    decision = decide(contest, force=force)
    assert decision.promoted == promoted
    assert text in decision.reason
    assert decision.reason.startswith("Champion: " if promoted else "Not champion: ")


class Registry:
    """Trains versions of `pet-unet` and looks at them."""

    def __init__(self, program: Program, data: Path) -> None:
        self.program, self.data = program, data

    def train(self, epochs: int, **options: object) -> str:
        """Train; return what was said of the champion."""
        done = self.program.entry("train", **{**SMALL, "data": self.data, **options}, epochs=epochs)
        assert done.returncode == 0, done.stderr
        return _decision(done.stdout)

    def champion(self) -> str:
        """The champion's version."""
        client = mlflow.MlflowClient(self.program.store)
        return str(client.get_registered_model("pet-unet").aliases.get("champion"))

    def tag(self, version: str, name: str) -> str | None:
        """A tag of a version."""
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
    assert "the first one above the floors" in first
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
    done = registry.program.entry("promote", **force)
    assert done.returncode == 0, done.stderr
    assert "as `force` says" in _decision(done.stdout)
    assert registry.champion() == "3"
    assert str(client.get_model_version("pet-unet", "3").description).count("**Promotion.**") == 1

    # Two at once: each contends with whoever is champion by then.
    commands = [
        entry_command("promote", model=f"models:/pet-unet/{version}", data=registry.data)
        for version in (1, 2)
    ]
    processes = [registry.program.start(*command) for command in commands]
    for process in processes:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    assert registry.champion() == "2"

    # A champion that no longer loads keeps its place until a person decides.
    (model,) = [
        m
        for m in client.search_logged_models(["0"])
        if m.source_run_id == (client.get_model_version("pet-unet", "2").run_id)
    ]
    (export,) = Path(model.artifact_location).rglob("*.pt2")
    whole = export.read_bytes()
    for damage in (whole[:1000], _without_weights(whole), None):
        if damage is None:
            shutil.rmtree(model.artifact_location)
        else:
            export.write_bytes(damage)
        done = registry.program.entry("promote", model="models:/pet-unet/1", data=registry.data)
        assert done.returncode == 0, done.stderr
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


def _without_weights(export: bytes) -> bytes:
    """The same archive with other bytes in place of the weights."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(export)) as whole, zipfile.ZipFile(stream, "w") as broken:
        for name in whole.namelist():
            content = whole.read(name)
            broken.writestr(name, b"x" * 10 if "weight" in name else content)
    return stream.getvalue()


def _gate(data: Path) -> list[Path]:
    """The image files of the gate split."""
    from segmentation.data.oxford_pets import read_list
    from segmentation.data.splits import in_gate

    return [example.image for example in read_list(data, "trainval") if in_gate(example)]
