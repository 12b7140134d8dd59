"""`train` with a budget: it logs its plan, and says beforehand what will not be kept."""

import re
from pathlib import Path

import mlflow

from tests.helpers.discs import SMALL
from tests.helpers.programs import Program, good


def test_a_training_within_a_budget_logs_its_plan(program: Program, discs: Path) -> None:
    done = good(program.entry("train", **SMALL, data=discs, budget="3s"))
    (planned,) = re.findall(r"^Budget: (\d+) epochs in 3 s of training$", done.stdout, re.M)
    (run,) = mlflow.MlflowClient(program.store).search_runs(["0"])
    assert run.data.params["epochs"] == planned
    asked, *changes = run.data.tags["budget"].split("; ")
    assert asked == "3 s"
    end = changes[-1] if changes else f"to {planned} after"
    (epochs,) = re.findall(r"to (\d+) after", end)
    history = mlflow.MlflowClient(program.store).get_metric_history(run.info.run_id, "val/dice")
    assert [point.step for point in history] == list(range(1, int(epochs) + 1))
    assert f" {epochs}ep " in run.info.run_name
