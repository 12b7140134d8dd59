"""A prediction as an MLflow run: what, by which model, how many; not the photos."""

import dataclasses
from pathlib import Path

import numpy as np

from segmentation.data.photo_folder import TABLE, PredictOptions
from segmentation.tracking.registry.loading import LoadedModel
from segmentation.tracking.runs.run import tracked_run
from segmentation.utils.paths import printable


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictionSummary:
    """A finished prediction.

    Attributes:
        photos: how many there are masks of.
        problems: a line for each that could not be used.
        pet_share: mean over the photos, in [0, 1]; NaN if there is none.
        seconds: wall time.
    """

    photos: int
    problems: tuple[str, ...]
    pet_share: float
    seconds: float


def log_prediction(
    summary: PredictionSummary, loaded: LoadedModel, images: Path, options: PredictOptions
) -> str:
    """Log counts and the table of a prediction of the photos `images`; return the run id."""
    output = printable(str(options.output))
    name = f"predict {summary.photos} photos with {loaded.label}"
    with tracked_run(name, {"model": loaded.label}, system_metrics=False) as run:
        run.log_params(
            {
                # With a prefix: the plain names hold what was typed, as MLflow's launcher logs it.
                "predict.images": printable(str(images)),
                "predict.output": output,
                "predict.model": loaded.label,
                "predict.threshold": options.threshold,
            }
        )
        metrics = {
            "predict/photos": summary.photos,
            "predict/problems": len(summary.problems),
            "predict/pet_share": summary.pet_share,
            "predict/seconds": summary.seconds,
            "predict/photos_per_second": summary.photos / max(summary.seconds, 1e-9),
        }
        run.log_metrics({key: value for key, value in metrics.items() if np.isfinite(value)})
        run.log_artifact(options.output / TABLE, TABLE)
        problems = "".join(f"- {problem}\n" for problem in summary.problems)[:4000]
        run.describe(
            f"{summary.photos} masks by {loaded.label} in `{output}`.\n\n"
            + (f"Could not be used:\n\n{problems}" if problems else "")
        )
        if summary.problems:
            run.status = "FAILED"
    return run.id
