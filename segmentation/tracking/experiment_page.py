"""How an experiment opens in MLflow's UI: its description, and a saved view of its runs."""

import contextlib
import json
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException

from segmentation.tracking.logging.run_logger import GLANCE
from segmentation.tracking.templates import render

#: The saved view's name in MLflow's menu *Views*, and its key in addresses.
VIEW, KEY = "Scores", "petseg"

# Columns of the table of runs, with their widths in pixels: a figure's first four digits are seen.
_COLUMNS = {
    "attributes.`Run Name`": 400,
    "metrics.`best/dice`": 85,
    "metrics.`test/dice`": 85,
    "metrics.`gate/dice`": 85,
    "params.`width`": 90,
    "params.`lr`": 90,
    "params.`epochs`": 110,
    "params.`train_images`": 125,
    "metrics.`best/dice_low`": 120,
    "metrics.`best/dice_high`": 120,
    "metrics.`floor/dice_all_pet`": 150,
    "metrics.`gate/floor_dice`": 125,
    "attributes.`Models`": 200,
}
# Charts by section: of which kind, of which metrics.
_CHARTS: dict[str, list[tuple[str, ...]]] = {
    "At a glance": [("IMAGE", f"{GLANCE}/pets"), ("IMAGE", f"{GLANCE}/curves")],
    "Trainings, by epoch": [
        ("LINE", "val/dice"),
        ("LINE", "train/loss", "val/loss"),
        ("LINE", "val/accuracy"),
    ],
    "Finished models": [
        ("BAR", name) for name in ("best/dice", "floor/dice_all_pet", "gate/dice", "test/dice")
    ],
    "Searches, by trial": [("LINE", "best/dice"), ("LINE", "trials/dice")],
}
# Cards of pictures are larger.
_SIZES = {"At a glance": {"columns": 2, "cardHeight": 560}}
_CLOSED = (
    GLANCE,
    "best",
    "confirmed",
    "floor",
    "gate",
    "test",
    "train",
    "trials",
    "val",
    "System metrics",
)
_LINE = {
    "lineSmoothness": 0,
    "range": {},
    "scaleType": "linear",
    "selectedXAxisMetricKey": "",
    "useGlobalLineSmoothing": True,
    "useGlobalXaxisKey": True,
    "xAxisKey": "step",
    "xAxisScaleType": "linear",
    "yAxisExpressions": [],
    "yAxisKey": "metric",
}
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
        tags = {
            "mlflow.note.content": render("experiment", view=VIEW, page=page),
            f"mlflow.sharedViewState.{KEY}": _saved_view(),
            _PRIMARY_METRIC: "best/dice",
        }
        for name, value in tags.items():
            if name not in there:
                client.set_experiment_tag(experiment, name, value)


def _saved_view() -> str:
    """Return the view, written as MLflow's UI writes it on *Save as new view*."""
    charts = [
        _chart(section, kind, *metrics)
        for section, charts in _CHARTS.items()
        for kind, *metrics in charts
    ]
    # What has no chart here gets one from MLflow, in a section by its prefix: those are closed.
    sections = [
        {
            "uuid": name,
            "name": name,
            "display": name in _CHARTS,
            "isReordered": True,
            **_SIZES.get(name, {}),
        }
        for name in (*_CHARTS, *_CLOSED)
    ]
    state = {
        "searchFilter": "attributes.status != 'FAILED'",
        "orderByKey": "metrics.`best/dice`",
        "orderByAsc": False,
        "selectedColumns": list(_COLUMNS),
        "columnOrder": list(_COLUMNS),
        "columnWidths": _COLUMNS,
        "compareRunCharts": charts,
        "compareRunSections": sections,
        "isAccordionReordered": True,
        "runsHiddenMode": "FIRST_20_RUNS",
    }
    # MLflow reads the state compressed or, as here, plain. A view needs times; nothing shows them.
    return json.dumps({"name": VIEW, "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)})


def _chart(section: str, kind: str, *metrics: str) -> dict[str, Any]:
    """Return a chart: LINE over steps, BAR of the last value of each run, or IMAGE by step."""
    image = {"imageKeys": metrics, "step": 0, "showRunParams": False}
    return {
        "type": kind,
        "uuid": f"{section}: {' '.join(metrics)}",
        "metricSectionId": section,
        "metricKey": metrics[0],
        "selectedMetricKeys": metrics,
        "runsCountToCompare": 20,
        "deleted": False,
        "isGenerated": False,
        **{"LINE": _LINE, "IMAGE": image}.get(kind, {}),
    }
