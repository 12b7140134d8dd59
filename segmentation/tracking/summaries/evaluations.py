"""A model's examination as an MLflow run, linked to the model and to its version."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException

from segmentation.evaluation.analysis import Analysis
from segmentation.tracking.registry.loading import LoadedModel
from segmentation.tracking.registry.versions import VersionRef, write_note
from segmentation.tracking.runs import inputs
from segmentation.tracking.runs.run import Run
from segmentation.tracking.summaries.gallery import Gallery


def log_analysis(
    run: Run,
    examination: Analysis,
    loaded: LoadedModel,
    source: Path,
    settings: Mapping[str, Any],
    metrics: Mapping[str, float],
) -> None:
    """Log figures, data set and settings into a run, linked to the model they are of.

    Args:
        run: of the evaluation.
        examination: what was found.
        loaded: the model.
        source: the data set's folder.
        settings: the parameters.
        metrics: the figures by name.
    """
    pairs = zip(examination.examples, examination.digests, strict=True)
    lines = sorted(f"{example.id} {digest}\n" for example, digest in pairs)
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    dataset = inputs.dataset(examination.split, digest, source)
    run.log_params(settings)
    model_id = loaded.model_id if _is_here(loaded.model_id) else ""
    run.log_inputs([(dataset, examination.split)], model_id)
    run.log_metrics(metrics, model_id=model_id, dataset=dataset)
    inputs.log_problems(run, examination.problems)


def log_pictures(
    run: Run,
    examination: Analysis,
    gallery: Gallery,
    plots: Mapping[str, bytes],
    page: str,
    markdown: str,
) -> None:
    """Log tables, pictures and the report into a run.

    Args:
        run: of the evaluation.
        examination: what was found.
        gallery: pictures of its images.
        plots: PNG files by name.
        page: the report as HTML.
        markdown: the description of the run.
    """
    split, evaluation = examination.split, examination.evaluation
    run.describe(markdown)
    run.log_text(page, f"{split}/report.html")
    gallery.log(run, evaluation, examination.scores)
    run.log_image(gallery.chosen(), f"{split}/random.jpg")
    run.log_text(_table(examination).to_csv(index=False), f"{split}/images.csv")
    for name, content in plots.items():
        run.log_artifact(content, f"{split}/plots/{name}")


def tell_version(loaded: LoadedModel, split: str, short: str, text: str) -> None:
    """Put the scores on the version that was evaluated, if it was asked for by name.

    Args:
        loaded: the model.
        split: on which images.
        short: for the tag `SPLIT.dice`.
        text: for the description.
    """
    if not loaded.version:
        return
    client = mlflow.MlflowClient()
    client.set_model_version_tag(loaded.name, loaded.version, f"{split}.dice", short)
    write_note(VersionRef(name=loaded.name, version=loaded.version), f"**On {split}.**", text)


def _table(examination: Analysis) -> pd.DataFrame:
    """Return a row an image, with every score."""
    counts = examination.evaluation.counts
    columns: dict[str, Any] = {
        "id": [example.id for example in examination.examples],
        "species": [example.species for example in examination.examples],
        "breed": [example.breed for example in examination.examples],
        "sha256": examination.digests,
        **examination.scores,
        "dice_all_pet": counts.all_pet().dice(),
        "accuracy_all_background": counts.all_background().accuracy(),
        "tp": counts.tp,
        "fp": counts.fp,
        "fn": counts.fn,
        "tn": counts.tn,
    }
    for border, others in examination.counts.items():
        columns[f"dice_border_{border}"] = others.dice()
    return pd.DataFrame(columns)


def _is_here(model_id: str) -> bool:
    """Tell whether the store knows a logged model; one from a folder may be from elsewhere."""
    if not model_id:
        return False
    try:
        return mlflow.MlflowClient().get_logged_model(model_id) is not None
    except MlflowException:
        return False
