"""`train` with a budget: as many epochs as fit, and nothing else changed by having measured."""

import re
from pathlib import Path

import mlflow
import pytest
import torch

from segmentation.config.training import Config, DataConfig, ModelConfig, TrainingConfig
from segmentation.data.loader import BatchLoader
from segmentation.models.unet import build_unet
from segmentation.training.loop import fit
from segmentation.workflows.session import TrainingSession
from tests.helpers.discs import SMALL
from tests.helpers.programs import Program


@pytest.fixture
def session(pets: Path) -> TrainingSession:
    config = Config(
        data=DataConfig(source=str(pets), train_images=12, val_images=5, image_size=48),
        model=ModelConfig(width=4, depth=3),
        training=TrainingConfig(epochs=3, batch_size=4, device="cpu", precision="fp32"),
    )
    return TrainingSession.load(config)


def test_measuring_leaves_no_trace_in_the_training(session: TrainingSession) -> None:
    config = session.config

    def weights() -> dict[str, torch.Tensor]:
        network = build_unet(config.model, 0)
        batches = BatchLoader(session.data["train"], session.data["val"], config.training)
        fit(network, batches, config.training, session.compute)
        return network.state_dict()

    before = weights()
    session.fit_to_budget(2.0)
    assert session.config.training.epochs > config.training.epochs
    after = weights()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_more_time_is_more_epochs(session: TrainingSession) -> None:
    session.fit_to_budget(2.0)
    epochs = session.config.training.epochs
    session.fit_to_budget(8.0)
    assert session.config.training.epochs > epochs  # by how much depends on what else runs


def test_a_training_within_a_budget_logs_its_plan(program: Program, discs: Path) -> None:
    done = program.entry("train", **SMALL, data=discs, budget="3s")
    assert done.returncode == 0, done.stderr
    (planned,) = re.findall(r"^Budget: (\d+) epochs in 3 s of training$", done.stdout, re.M)
    (run,) = mlflow.MlflowClient(program.store).search_runs(["0"])
    assert run.data.params["training.epochs"] == planned
    asked, *changes = run.data.tags["budget"].split("; ")
    assert asked == "3 s"
    end = changes[-1] if changes else f"to {planned} after"
    (epochs,) = re.findall(r"to (\d+) after", end)
    history = mlflow.MlflowClient(program.store).get_metric_history(run.info.run_id, "val/dice")
    assert [point.step for point in history] == list(range(1, int(epochs) + 1))
    assert f" {epochs}ep " in run.info.run_name


def test_what_no_whole_epoch_fits_into_is_told_beforehand(program: Program, discs: Path) -> None:
    done = program.entry("train", **SMALL, data=discs, budget="0.001s")
    assert done.returncode == 0, done.stderr
    expected = (
        r"^Budget: 1 epoch in 0\.001 s of training, as near as whole epochs come.*about \d+ s"
    )
    assert re.search(expected, done.stdout, re.M)


@pytest.mark.parametrize("wrong", ["soon", "-5s", "nan", "inf"])
def test_what_is_no_time_is_refused(program: Program, wrong: str) -> None:
    done = program.entry("train", budget=wrong)
    assert done.returncode == 2
    assert "expected such as 90s, 5m or 1.5h" in done.stderr
    assert "Traceback" not in done.stderr
