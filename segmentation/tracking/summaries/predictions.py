"""A prediction as an MLflow run: what, by which model, how many; not the photos."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from segmentation.tracking.registry.loading import LoadedModel
from segmentation.tracking.runs.run import tracked_run
from segmentation.utils.paths import printable


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictionSummary:
    """A finished prediction.

    Attributes:
        photos: how many there are masks of.
        problems: a line for each that could not be read.
        pet_share: mean over the photos, in [0, 1]; NaN if there is none.
        seconds: wall time.
    """

    photos: int
    problems: tuple[str, ...]
    pet_share: float
    seconds: float


def log_prediction(
    predicted: PredictionSummary, loaded: LoadedModel, settings: Mapping[str, Any], table: Path
) -> str:
    """Log counts and the table of a prediction; return the run id.

    Args:
        predicted: what was done.
        loaded: the model.
        settings: the parameters.
        table: the file that `predict` wrote.
    """
    name = f"predict {predicted.photos} photos with {loaded.label}"
    with tracked_run(name, {"model": loaded.label}, system_metrics=False) as run:
        run.log_params(settings)
        figures = {
            "predict/photos": predicted.photos,
            "predict/problems": len(predicted.problems),
            "predict/pet_share": predicted.pet_share,
            "predict/seconds": predicted.seconds,
            "predict/photos_per_second": predicted.photos / max(predicted.seconds, 1e-9),
        }
        run.log_metrics({key: value for key, value in figures.items() if np.isfinite(value)})
        run.log_artifact(table, table.name)
        problems = "".join(f"- {problem}\n" for problem in predicted.problems)[:4000]
        run.describe(
            f"{predicted.photos} masks by {loaded.label} in `{printable(str(table.parent))}`.\n\n"
            + (f"Could not be used:\n\n{problems}" if problems else "")
        )
        if predicted.problems:
            run.status = "FAILED"
    return run.id
