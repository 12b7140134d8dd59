"""An experiment is introduced once, and what people wrote or deleted stays so."""

import json
from pathlib import Path

import mlflow

from segmentation.tracking.experiment_page import introduce_experiment

DESCRIPTION, VIEW = "mlflow.note.content", "mlflow.sharedViewState.petseg"


def test_it_is_described_and_what_people_wrote_or_deleted_stays_so(tmp_path: Path) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    client = mlflow.MlflowClient()
    introduce_experiment("0")
    tags = client.get_experiment("0").tags
    assert "#/experiments/0/runs?" in tags[DESCRIPTION]
    assert "viewStateShareKey=petseg" in tags[DESCRIPTION]
    assert len(tags[VIEW]) < 20_000  # no more is kept
    state = json.loads(json.loads(tags[VIEW])["state"])
    # MLflow shows a column once a run has the figure.
    assert {"metrics.`best/dice`", "metrics.`test/dice`"} <= set(state["selectedColumns"])
    client.set_experiment_tag("0", DESCRIPTION, "mine")
    client.delete_experiment_tag("0", VIEW)
    introduce_experiment("0")
    tags = client.get_experiment("0").tags
    assert tags[DESCRIPTION] == "mine"
    assert VIEW not in tags
