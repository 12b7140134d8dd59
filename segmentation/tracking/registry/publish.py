"""A trained model on its way to MLflow: exported, logged, registered, each but once."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric, Run
from mlflow.models import Model

from segmentation.config.training import ModelConfig
from segmentation.errors import TrackingError
from segmentation.models.predictor import OneByOne, same_answers
from segmentation.models.unet import Segmenter
from segmentation.tracking.registry.champion import challenge_if_newest
from segmentation.tracking.registry.export import export
from segmentation.tracking.registry.loading import load_export
from segmentation.tracking.registry.versions import register

_TOLERANCE = 1e-3


def pack(segmenter: Segmenter, shape: ModelConfig, threshold: float, folder: Path) -> None:
    """Export the model, which is left on the CPU in eval mode, into a folder, made anew.

    Raises:
        TrackingError: the exported model does not answer as the trained one does.
    """
    segmenter = segmenter.cpu().eval()
    shutil.rmtree(folder, ignore_errors=True)
    export(segmenter, shape, threshold, folder)
    exported = OneByOne(load_export(str(folder)), "the exported model")
    if not same_answers(OneByOne(segmenter, "the trained model"), exported, _TOLERANCE):
        raise TrackingError(
            "the exported model answers otherwise than the trained one; it was not registered"
        )


def publish(run_id: str, entry: Mapping[str, Any], folder: Path) -> None:
    """Log the model that lies packed in the folder `model`, and register it, each but once.

    The entry has `metrics`, figures of this very model; `dataset`, the `name` and `digest` of what
    they were measured on; `step`, the epoch whose weights these are, whose metrics are the model's,
    too; `registration`, the arguments of `register` but for the model's id, or None.
    """
    run = mlflow.MlflowClient().get_run(run_id)
    model = _whole_model(run) or _log_packed(run, folder / "model", entry["step"])
    _log_metrics(run, model, entry)
    if (registration := entry["registration"]) is not None:
        challenge_if_newest(register(model.model_id, **registration))


def _log_packed(run: Run, packed: Path, step: int) -> LoggedModel:
    """Log a model as it lies packed: the same, whether the store was there or away by then.

    MLflow's `log_model` would export it anew.
    """
    client, run_id = mlflow.MlflowClient(), run.info.run_id
    model = client.create_logged_model(
        run.info.experiment_id, name="model", source_run_id=run_id, params=run.data.params
    )
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step)])
    description = Model.load(str(packed))
    description.model_id = description.model_uuid = model.model_id
    description.run_id, description.artifact_path = run_id, model.artifact_location
    description.save(str(packed / "MLmodel"))
    client.log_model_artifacts(model.model_id, str(packed))
    return client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


def _log_metrics(run: Run, model: LoggedModel, entry: Mapping[str, Any]) -> None:
    """Log a model's figures as the run's and as its own, unless that was done."""
    client, run_id, metrics = mlflow.MlflowClient(), run.info.run_id, entry["metrics"]
    linked = client.get_logged_model(model.model_id).metrics or []
    if metrics.keys() & {metric.key for metric in linked}:
        return
    links = {
        "model_id": model.model_id,
        "dataset_name": entry["dataset"]["name"],
        "dataset_digest": entry["dataset"]["digest"],
        "run_id": run_id,
    }
    # MLflow writes the run's points before the model's. A killed process may have written the
    # former: of a point with the same time and value MLflow keeps one.
    time = model.creation_timestamp
    # At step 0: the UI then compares runs by bars, not by lines of a single point.
    points = [Metric(key, value, time, 0, **links) for key, value in metrics.items()]
    points += [
        Metric(key, one.value, one.timestamp, one.step, model_id=model.model_id, run_id=run_id)
        for key in run.data.metrics
        for one in client.get_metric_history(run_id, key)
        if one.step == entry["step"] and one.model_id is None
    ]
    client.log_batch(run_id, metrics=points)


def logged_model(run_id: str) -> str:
    """Return the id of the model that a run has logged."""
    model = _whole_model(mlflow.MlflowClient().get_run(run_id))
    if model is None:
        raise TrackingError(f"run {run_id} has no model in the tracking store")
    return str(model.model_id)


def _whole_model(run: Run) -> LoggedModel | None:
    """Return the model that a run has logged, if any; what a killed process left of one goes."""
    client = mlflow.MlflowClient()
    found = client.search_logged_models(
        [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"
    )
    whole = [model for model in found if model.status == LoggedModelStatus.READY]
    for model in found:
        if model not in whole:
            client.delete_logged_model(model.model_id)
    return whole[0] if whole else None
