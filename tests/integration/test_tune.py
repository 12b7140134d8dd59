"""`tune` from start to end, and what it leaves behind."""

import dataclasses
from pathlib import Path

import albumentations as A  # noqa: N812  # as its users call it
import mlflow
import numpy as np
import optuna
import pytest
from mlflow.entities import Run
from PIL import Image

from segmentation.tracking.registry.loading import load
from tests.helpers.drawing import broken_drawing
from tests.helpers.programs import PROJECT, Program, good, opened_by_launcher
from tests.helpers.studies import TINY_SEARCH, assert_exact, trials_of

OPTIONS = {**TINY_SEARCH, "trials": "3", "workers": "1"}


@dataclasses.dataclass(frozen=True)
class Tuned(Program):
    out: str
    err: str

    @property
    def parent(self) -> Run:
        (parent,) = self.runs(stage="parent")
        return parent

    def report(self) -> str:
        return self.download(self.parent.info.run_id, "report.md").read_text()


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, pets: Path) -> Tuned:
    folder = tmp_path_factory.mktemp("tuned")
    optuna.logging.set_verbosity(optuna.logging.INFO)
    done = good(Program.under(folder).entry("tune", **OPTIONS, data=pets))
    assert optuna.logging.get_verbosity() == optuna.logging.INFO  # of a notebook's own studies
    return Tuned.under(folder, done.stdout, done.stderr)


def test_both_stores_hold_each_trial_once(tuned: Tuned) -> None:
    assert_exact(tuned, trials=3, confirmations=4)
    runs = tuned.runs(study="small")
    assert len(runs) == 1 + 3 + 4
    ids = {run.data.tags.get("mlflow.petseg.study.id") for run in runs}
    assert ids == {tuned.parent.data.tags["mlflow.petseg.study.id"]}


def test_the_console_tells_each_trial_and_what_to_do_next(tuned: Tuned) -> None:
    lines = tuned.out.splitlines()
    assert sum(line.startswith("Trial ") for line in lines) == 3
    assert any("[3/3; best 0." in line for line in lines)
    assert sum(line.startswith("Confirming ") for line in lines) == 4
    verdict, champion, again, _, _, page, how_to_load, judge, _ = lines[-9:]
    assert "hampion: gate Dice" in champion
    assert "gate images, which trained nothing" in verdict
    assert again.startswith(f"Again: mlflow run {PROJECT} -e train --env-manager local -P ")
    assert tuned.parent.info.run_id in page
    assert judge.startswith("Next:  mlflow run ")
    assert how_to_load.startswith('Load:  mlflow.pytorch.load_model("models:/pet-unet/')
    assert [line for line in tuned.err.splitlines() if "mlflow.store.db" not in line] == []


def test_every_trial_is_a_whole_nested_run(tuned: Tuned) -> None:
    runs = tuned.runs(stage="search")
    assert len(runs) == 3
    for run in runs:
        tags, figures = run.data.tags, run.data.metrics
        assert tags["mlflow.parentRunId"] == tuned.parent.info.run_id
        assert tags["study"] == "small"
        assert run.data.params["epochs"] == "2"
        assert {"best/dice", "best/accuracy", "val/dice", "floor/dice_all_pet"} <= set(figures)
        models = [output.model_id for output in run.outputs.model_outputs] if run.outputs else []
        assert len(models) == ("pruned" not in tags)


def test_trials_are_registered_with_tags_and_without_alias_the_winner_with(tuned: Tuned) -> None:
    trials = tuned.versions(purpose="trial")
    assert {version.tags["study"] for version in trials} == {"small"}
    for version in trials:
        assert not tuned.client.get_model_version("pet-unet", version.version).aliases
        run = tuned.client.get_run(str(version.run_id))
        assert version.tags["trial"] == run.data.tags["trial"]
    (winner,) = tuned.versions(purpose="winner")
    aliases: dict[str, int] = dict(tuned.client.get_registered_model("pet-unet").aliases)
    assert str(aliases["challenger"]) == str(winner.version)


def test_the_winner_is_the_best_confirmed_by_the_gate_and_answers(tuned: Tuned) -> None:
    means: dict[str, list[float]] = {}
    for trial in trials_of(tuned, ".confirmation"):
        means.setdefault(trial.user_attrs["plan"]["label"], []).append(float(trial.value or 0))
        run = tuned.client.get_run(trial.user_attrs["run"])
        assert run.data.metrics["gate/dice"] == pytest.approx(trial.value)
        assert run.data.metrics["gate/images"] == len(trial.user_attrs["gate"])
        assert np.mean(trial.user_attrs["gate"]) == pytest.approx(trial.value, abs=1e-6)
        assert run.data.params["epochs"] == "3"
        assert run.data.params["seed"] in ("1", "2")
    assert set(map(len, means.values())) == {2}
    assert "train's defaults" in means
    (winner,) = tuned.versions(purpose="winner")
    best = max(means, key=lambda label: np.mean(means[label]))
    assert winner.tags["candidate"] == best
    assert float(winner.tags["gate.dice"]) == pytest.approx(np.mean(means[best]), abs=1e-4)
    of_winner = tuned.client.get_run(str(winner.run_id)).data.metrics
    assert of_winner["gate/dice"] == pytest.approx(max(means[best]))
    mlflow.set_tracking_uri(tuned.store)
    assert load(f"models:/pet-unet/{winner.version}") is not None


def test_the_parents_page_is_worth_opening(tuned: Tuned) -> None:
    run_id = tuned.parent.info.run_id
    best = tuned.client.get_metric_history(run_id, "best/dice")
    epochs = tuned.client.get_metric_history(run_id, "trials/epochs")
    assert [point.step for point in epochs] == [1, 2, 3]
    values = [point.value for point in best]
    assert values == sorted(values)
    complete = [float(t.value or 0) for t in trials_of(tuned) if t.state == "complete"]
    assert values[-1] == pytest.approx(max(complete))
    report = tuned.report()
    assert report == tuned.parent.data.tags["mlflow.note.content"]
    for told in ("### Confirmed", "### Leaders", "-e train --env-manager", "Cost: 3"):
        assert told in report
    assert tuned.parent.data.params["width"] == "2..4:2"
    page = tuned.download(run_id, "plots.html").read_text()
    assert page.count('class="plotly-graph-div"') == 3  # of more trials there are more
    assert "would be chance" in report
    for name in ("history", "slices", "timeline"):
        picture = Image.open(tuned.download(run_id, f"plots/{name}.png"))
        assert np.asarray(picture.convert("L")).std() > 5, name


def test_more_trials_less_to_keep_and_then_none(tuned: Tuned, pets: Path, tmp_path: Path) -> None:
    """Last in this file: it changes the study."""
    options = {**OPTIONS, "trials": "4", "keep": "1"}
    more = good(tuned.entry("tune", **options, data=pets))
    assert sum(trial.counts for trial in trials_of(tuned)) == 4
    assert sum(line.startswith("Trial ") for line in more.stdout.splitlines()) == 1
    (left,) = tuned.versions(purpose="trial")
    complete = (trial for trial in trials_of(tuned) if trial.state == "complete")
    best = max(complete, key=lambda trial: float(trial.value or 0))
    assert left.run_id == best.user_attrs["run"]
    assert "losing trials (" in tuned.report()
    # The same again, as under MLflow's launcher, which opens a run for every command.
    (tmp_path / "moved").symlink_to(pets)
    same = {"lr": "0.00030..3.0e-2", "data": f"{tmp_path}/moved"}
    number, opened = len(tuned.runs(study="small")), opened_by_launcher(tuned.client)
    with broken_drawing():
        again = good(tuned.entry("tune", MLFLOW_RUN_ID=opened, **options | same))
    assert "Not drawn: plots (OSError: no fonts)" in again.stderr.splitlines()
    assert "Going on with study small: 4 trials are done" in again.stdout
    said = again.stdout.replace(same["data"], str(pets))
    assert more.stdout.splitlines()[-9:] == said.splitlines()[-9:]
    assert len(tuned.runs(study="small")) == number
    assert [one.version for one in tuned.versions(purpose="trial")] == [left.version]
    tags, parent = tuned.client.get_run(opened).data.tags, tuned.parent.info.run_id
    assert tags["mlflow.runName"].endswith("(went on)")
    assert tags["mlflow.parentRunId"] == parent
    assert f"[`{parent}`](#/experiments/0/runs/{parent})" in tags["mlflow.note.content"]


def test_a_study_survives_failed_trials_not_other_settings(
    program: Program, pets: Path, tmp_path: Path
) -> None:
    # The largest learning rate, with a huge decay, multiplies the weights by -99 at each step.
    wild = {"lr": "1e-3,9.99", "width": "4", "weight_decay": "9.99", "ema": "0"}
    options = {**TINY_SEARCH, **wild, "precision": "fp32", "confirm": "0", "workers": "1"}
    options |= {"trials": "2", "trial_epochs": "2", "batch_size": "2", "pruner": "none"}
    pipeline = tmp_path / "own.json"
    A.save(A.Compose([A.Blur()]), pipeline)
    options |= {"data": str(pets), "augment": str(pipeline)}
    done = good(program.entry("tune", **options))
    assert_exact(program, trials=2, confirmations=0)
    failed = [trial for trial in trials_of(program) if trial.state == "failed"]
    assert failed
    assert all("loss became" in trial.user_attrs["failure"] for trial in failed)
    assert all(trial.params["lr"] == 9.99 for trial in failed)
    assert "failed: the" in done.stdout
    runs = program.runs(stage="search")
    assert sum(run.info.status == "FAILED" for run in runs) == len(failed)
    assert "nothing is confirmed" in done.stdout
    moved = pipeline.rename(tmp_path / "moved.json")
    other = options | {"lr": "1e-3,1e-2", "split_seed": "1", "augment": str(moved)}
    told = program.refused(2, "tune", **other)
    assert "study=small was begun with other settings" in told
    assert "lr=0.001,0.01 (there it is 0.001,9.99)" in told
    assert "split_seed=1 (there it is 0)" in told
    assert "images=" in told
    assert "augment" not in told
    assert_exact(program, trials=2, confirmations=0)
    (parent,) = program.runs(stage="parent")
    program.client.delete_run(parent.info.run_id)
    deleted = program.entry("tune", **options | {"augment": str(moved)})
    assert f"back with `mlflow runs restore --run-id {parent.info.run_id}`" in deleted.stderr
    assert "Reading images" not in deleted.stdout
