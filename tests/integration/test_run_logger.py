"""Every kind of run logs the same things the same way, nothing twice, and over nobody's words."""

import json
from pathlib import Path

import mlflow
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from segmentation.config.training import DataConfig
from segmentation.data.sources import Source
from segmentation.tracking.experiment_page import introduce_experiment
from segmentation.tracking.logging.mlflow_sink import MlflowSink
from segmentation.tracking.logging.outbox import Entry, Outbox
from segmentation.tracking.logging.run_logger import RunLogger, png_of
from segmentation.tracking.logging.uploader import Uploader
from segmentation.tracking.runs.inputs import dataset
from segmentation.tracking.runs.run import tracked_run

IMAGE = np.full((8, 8, 3), 200, np.uint8)
FILES = ["checkpoint/latest", "notes/a.txt", "splits.json", "val/worst.jpg"]
NOTE, VIEW = "mlflow.note.content", "mlflow.sharedViewState.petseg"


class Mute(MlflowSink):
    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self._answered: set[int] = set()

    def write(self, entries: list[Entry]) -> list[Entry]:
        written = super().write(entries)
        if entries[0].number not in self._answered:
            self._answered.add(entries[0].number)
            raise TimeoutError("no answer")
        return written


def log_all(run: RunLogger, folder: Path) -> None:
    source = Source(root=folder, summary="", description="", config=DataConfig())
    run.log_params({"width": 4, "lr": 1e-3})
    run.set_tags({"device": "cpu"})
    run.describe("what it was")
    run.rename("renamed")
    run.log_inputs([(dataset("train", "f" * 40, source), "training")])
    for epoch in (1, 2, 3):
        run.log_metrics({"loss": 1 / epoch, "dice": 0.5}, epoch)
    run.log_image_step(png_of(IMAGE), "at a glance/pets", 2)
    run.log_text("text", "notes/a.txt")
    run.log_text("{}", "splits.json")
    run.log_image(lambda: IMAGE, "val/worst.jpg")
    run.log_table({"id": ["a", "b"]}, "val/images.json", {"photo": [png_of(IMAGE)] * 2})
    for content in ("older", "newest"):
        (folder / "kept").write_text(content)
        run.log_checkpoint(folder / "kept", "checkpoint/latest")


def require_all_once(client: mlflow.MlflowClient, run_id: str) -> None:
    run = client.get_run(run_id)
    assert run.data.params == {"width": "4", "lr": "0.001"}
    assert (run.info.run_name, run.data.tags["device"]) == ("renamed", "cpu")
    assert run.data.tags[NOTE] == "what it was"
    assert run.inputs
    (one,) = run.inputs.dataset_inputs
    assert (one.dataset.name, one.dataset.digest) == ("pets-train", "f" * 36)
    points = client.get_metric_history(run_id, "loss")
    assert [(point.step, point.value) for point in points] == [(1, 1), (2, 1 / 2), (3, 1 / 3)]
    folder = Path(client.download_artifacts(run_id, ""))
    assert all((folder / path).is_file() for path in FILES)
    assert (folder / "checkpoint" / "latest").read_text() == "newest"
    assert len(list((folder / "images").iterdir())) == 2  # MLflow writes each image twice
    assert len(mlflow.load_table("val/images.json", run_ids=[run_id])) == 2


def test_what_is_logged_at_once_and_what_is_queued_is_the_same(
    client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    run_id, queued = (client.create_run("0").info.run_id for _ in range(2))
    log_all(RunLogger(run_id, MlflowSink(run_id)), tmp_path)
    require_all_once(client, run_id)
    outbox = Outbox(tmp_path / "outbox")
    log_all(RunLogger(queued, outbox), tmp_path)
    sink = MlflowSink(queued)
    while entries := outbox.pending():
        outbox.ack(sink.write(entries))
    require_all_once(client, queued)


def test_nothing_arrives_twice_where_every_answer_is_lost(
    client: mlflow.MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segmentation.tracking.logging.uploader._PAUSE", 0.01)
    run_id = client.create_run("0").info.run_id
    outbox = Outbox(tmp_path / "outbox")
    log_all(RunLogger(run_id, outbox), tmp_path)
    assert Uploader(outbox, Mute(run_id)).finish(60)
    require_all_once(client, run_id)


def test_what_a_person_says_of_a_run_stays_and_what_we_have_said_is_replaced(
    client: mlflow.MlflowClient,
) -> None:
    run_id = client.create_run("0").info.run_id  # MLflow gives it a name that nobody has said
    for text in ("first", "second"):  # each as another process, as after a kill
        run = RunLogger(run_id, MlflowSink(run_id))
        run.describe(text)
        run.rename(text)
        said = client.get_run(run_id)
        assert (said.info.run_name, said.data.tags[NOTE]) == (text, text)
    client.update_run(run_id, name="mine")
    client.set_tag(run_id, NOTE, "my note")
    run.describe("third")
    run.rename("third")
    said = client.get_run(run_id)
    assert (said.info.run_name, said.data.tags[NOTE]) == ("mine", "my note")


def test_an_experiment_is_described_and_peoples_words_stay(client: mlflow.MlflowClient) -> None:
    introduce_experiment("0")
    tags = client.get_experiment("0").tags
    assert "#/experiments/0/runs?" in tags[NOTE]
    assert "viewStateShareKey=petseg" in tags[NOTE]
    assert len(tags[VIEW]) < 20_000  # no more is kept
    state = json.loads(json.loads(tags[VIEW])["state"])
    # MLflow shows a column once a run has the figure.
    assert {"metrics.`best/dice`", "metrics.`test/dice`"} <= set(state["selectedColumns"])
    client.set_experiment_tag("0", NOTE, "mine")
    client.delete_experiment_tag("0", VIEW)
    introduce_experiment("0")
    tags = client.get_experiment("0").tags
    assert tags[NOTE] == "mine"
    assert VIEW not in tags


def test_what_a_notebook_logs_by_itself_of_other_models_is_not_logged_in_a_run_of_ours(
    client: mlflow.MlflowClient,
) -> None:
    points = np.arange(4.0).reshape(-1, 1)
    mlflow.sklearn.autolog(silent=True)
    try:
        with tracked_run("tune", {}) as run:
            LinearRegression().fit(points, points)
        assert not client.get_run(run.id).data.params
        with mlflow.start_run() as own:
            LinearRegression().fit(points, points)
    finally:
        mlflow.sklearn.autolog(disable=True)
    assert client.get_run(own.info.run_id).data.params["n_jobs"] == "None"
