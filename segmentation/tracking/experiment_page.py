"""How an experiment opens in MLflow's UI: its description, and a saved view of its runs."""

import contextlib
import json

import mlflow
from mlflow.exceptions import MlflowException

from segmentation.tracking.logging.run_logger import GLANCE
from segmentation.tracking.templates import render

#: The saved view's name in MLflow's menu *Views*, and its key in addresses.
VIEW, KEY = "Scores", "petseg"

# The tag that is set last: an experiment that has it was introduced already.
_PRIMARY_METRIC = "mlflow.experiment.primaryMetric.name"


def introduce_experiment(experiment: str) -> None:
    """Describe an experiment, given its id, and save a view of it, once and where nobody has.

    Several processes may do so at once: they set the same. It is only for the eye and stops no
    training: where the store refuses, the experiment stays as it is.
    """
    client = mlflow.MlflowClient()
    with contextlib.suppress(MlflowException):
        there = client.get_experiment(experiment).tags
        # What a person has emptied or deleted since does not come back.
        if _PRIMARY_METRIC in there:
            return
        # A new browser opens MLflow's pages for language models, unless the address says otherwise.
        kind = "workflowType=machine_learning"
        page = f"#/experiments/{experiment}/runs?{kind}&viewStateShareKey={KEY}"
        # MLflow reads a view's state compressed or, as here, plain. Nothing shows its times.
        state = json.dumps(json.loads(render("view.json", glance=GLANCE)))
        view = {"name": VIEW, "createdAt": 0, "updatedAt": 0, "state": state}
        tags = {
            "mlflow.note.content": render("experiment.md", view=VIEW, page=page),
            f"mlflow.sharedViewState.{KEY}": json.dumps(view),
            _PRIMARY_METRIC: "best/dice",
        }
        for name, value in tags.items():
            if name not in there:
                client.set_experiment_tag(experiment, name, value)
