"""A run by the id that a user gave."""

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from segmentation.errors import ConfigError


def get_run_or_fail(run_id: str, parameter: str, expected: str) -> Run:
    """Look a run up in the tracking store.

    Args:
        run_id: as it was given.
        parameter: the one that it was given for.
        expected: a clause that says what was.

    Raises:
        ConfigError: there is no such run, or it was deleted.
    """
    try:
        run: Run = mlflow.MlflowClient().get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise ConfigError(
            f"{parameter}={run_id}: the tracking store has no such run; {expected}, which `mlflow "
            "ui` shows; train in the folder of that run, or set MLFLOW_TRACKING_URI to its store"
        ) from error
    if run.info.lifecycle_stage != "active":
        raise ConfigError(
            f"{parameter}={run_id}: the run {run.info.run_name} was deleted; bring it back with "
            f"`mlflow runs restore --run-id {run_id}`, or give another"
        )
    return run
