"""An experiment is introduced once, and what people wrote or deleted stays so."""

import json

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from segmentation.tracking.experiment_page import introduce_experiment

DESCRIPTION, VIEW = "mlflow.note.content", "mlflow.sharedViewState.petseg"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(f"sqlite:///{tmp_path_factory.mktemp('introduced')}/mlflow.db")


@pytest.fixture
def experiment(client: mlflow.MlflowClient, request: pytest.FixtureRequest) -> str:
    mlflow.set_tracking_uri(client.tracking_uri)
    return str(client.create_experiment(request.node.name))


def test_it_is_described_and_has_a_view_that_mlflow_takes(
    client: mlflow.MlflowClient, experiment: str
) -> None:
    introduce_experiment(experiment)
    tags = client.get_experiment(experiment).tags
    assert f"#/experiments/{experiment}/runs?" in tags[DESCRIPTION]
    assert "viewStateShareKey=petseg" in tags[DESCRIPTION]
    assert len(tags[VIEW]) < 20_000  # no more is kept
    state = json.loads(json.loads(tags[VIEW])["state"])
    # MLflow shows a column once a run has the figure.
    assert {"metrics.`best/dice`", "metrics.`test/dice`"} <= set(state["selectedColumns"])


def test_what_people_wrote_or_deleted_stays_so(
    client: mlflow.MlflowClient, experiment: str
) -> None:
    client.set_experiment_tag(experiment, DESCRIPTION, "mine")
    introduce_experiment(experiment)
    tags = client.get_experiment(experiment).tags
    assert tags[DESCRIPTION] == "mine"
    assert VIEW in tags
    client.delete_experiment_tag(experiment, VIEW)
    introduce_experiment(experiment)
    assert VIEW not in client.get_experiment(experiment).tags


def test_a_store_that_refuses_stops_nothing(
    experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise MlflowException("no")

    monkeypatch.setattr(mlflow.MlflowClient, "set_experiment_tag", refuse)
    introduce_experiment(experiment)
