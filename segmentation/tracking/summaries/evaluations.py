"""An evaluation as an MLflow run, linked to the model and to its version."""

import hashlib
from collections.abc import Mapping
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException

from segmentation.data.sources import Source
from segmentation.evaluation.analysis import Analysis
from segmentation.evaluation.gallery import Gallery
from segmentation.evaluation.pictures import encode_figure, try_draw
from segmentation.evaluation.report.plots import plot_all
from segmentation.evaluation.report.report import description, html_report, version_note
from segmentation.tracking.logging.run_logger import RunLogger
from segmentation.tracking.registry.loading import LoadedModel
from segmentation.tracking.registry.versions import VersionRef, write_note
from segmentation.tracking.runs import inputs
from segmentation.tracking.runs.run import Run
from segmentation.tracking.summaries.images import log_images, names
from segmentation.tracking.templates import linked


def log_analysis(run: RunLogger, analysis: Analysis, loaded: LoadedModel, source: Source) -> None:
    """Log data set and metrics, linked to the model they are of."""
    run.log_params({"model": loaded.label})
    pairs = zip(analysis.examples, analysis.digests, strict=True)
    lines = sorted(f"{example.id} {digest}\n" for example, digest in pairs)
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    dataset = inputs.dataset(analysis.split, digest, source)
    model_id = loaded.model_id if _is_logged_here(loaded.model_id) else ""
    run.log_inputs([(dataset, analysis.split)], model_id)
    run.log_metrics(analysis.metrics(), model_id=model_id, dataset=dataset)
    inputs.log_problems(run, analysis.problems)


def log_report(
    run: RunLogger, analysis: Analysis, figures: Mapping[str, Any], gallery: Gallery
) -> None:
    """Log the description, the report, tables, plots and pictures."""
    split = analysis.split
    run.describe(description(figures))
    run.log_text(_table(analysis).to_csv(index=False), f"{split}/images.csv")

    def draw_plots() -> dict[str, bytes]:
        return {name: encode_figure(one, dpi=110) for name, one in plot_all(analysis).items()}

    plots = try_draw("the plots", draw_plots) or {}
    pictures = try_draw("the galleries of the report", gallery.files) or {}
    run.log_text(html_report(figures, {**plots, **pictures}), f"{split}/report.html")
    log_images(run, analysis.evaluation, gallery, analysis.scores)
    run.log_image(gallery.random, f"{split}/random.jpg")
    for name, content in plots.items():
        run.log_artifact(content, f"{split}/plots/{name}")


def note_on_version(
    loaded: LoadedModel,
    analysis: Analysis,
    figures: Mapping[str, Any],
    source: Source,
    run: Run,
) -> None:
    """Put the scores on the version that was evaluated, if it was asked for by name."""
    if not loaded.version:
        return
    split, (low, high) = analysis.split, analysis.evaluation.interval
    short = (
        f"{analysis.evaluation.counts.mean().dice:.4f} ({low:.3f} to {high:.3f}, "
        f"{len(analysis.examples)} images of {source.name}"
    )
    short += f", border {analysis.border})" if analysis.labels.trimap else ")"
    client = mlflow.MlflowClient()
    client.set_model_version_tag(loaded.name, loaded.version, f"{split}.dice", short)
    ref = VersionRef(name=loaded.name, version=loaded.version)
    note = linked(version_note(figures, source.name, run.id), run.experiment)
    write_note(ref, f"**On {split}.**", note)


def _table(analysis: Analysis) -> pd.DataFrame:
    """Return a row an image, with every score."""
    counts = analysis.evaluation.counts
    columns: dict[str, Any] = {
        **names(analysis.examples),
        "sha256": analysis.digests,
        **analysis.scores,
        "dice_all_pet": counts.all_pet().dice(),
        "accuracy_all_background": counts.all_background().accuracy(),
        **vars(counts),
    }
    for border, others in analysis.by_border.items() if analysis.labels.trimap else ():
        columns[f"dice_border_{border}"] = others.counts.dice()
    return pd.DataFrame(columns)


def _is_logged_here(model_id: str) -> bool:
    """Tell whether the store knows a logged model; one from a folder may be from elsewhere."""
    try:
        return bool(model_id) and mlflow.MlflowClient().get_logged_model(model_id) is not None
    except MlflowException:
        return False
