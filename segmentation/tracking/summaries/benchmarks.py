"""A benchmark as MLflow runs, and what it reads back from the stores of programs it measures."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import mlflow

from segmentation.tracking.runs.lifecycle import describe as describe_run
from segmentation.utils.markdown import row, rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Heads and rows.
Table = tuple[Sequence[str], Sequence[Sequence[str]]]


def log_settings(settings: Mapping[str, Any]) -> None:
    """Log what was asked for into the current run."""
    mlflow.log_params(dict(settings))


def log_findings(
    suite: str,
    metrics: Mapping[str, float],
    table: Table,
    lines: Sequence[str],
    precision: str,
) -> None:
    """Log what a suite knows so far into the current run, in place of what it knew before.

    Args:
        suite: its name, which the table has too.
        metrics: the figures that are new.
        table: as CSV and in the run's description.
        lines: the findings, for the description.
        precision: the arithmetic that was measured.
    """
    columns, rows = table
    mlflow.log_metrics(dict(metrics))
    mlflow.set_tag("precision", precision)
    text = io.StringIO()
    csv.writer(text).writerows([columns, *rows])
    mlflow.log_text(text.getvalue(), f"{suite}.csv")
    listed = [row(columns), rule(len(columns)), *(row(cells) for cells in rows)]
    describe_run("\n".join([*(f"- {line}" for line in lines), "", *listed]))


def log_chart(suite: str, figure: "Figure") -> None:
    """Log a suite's chart into the current run, as `SUITE.png`."""
    mlflow.log_figure(figure, f"{suite}.png")


def describe(lines: Sequence[str]) -> None:
    """Describe the current run by findings."""
    describe_run("\n".join(f"- {line}" for line in lines))


def step_times(store: str) -> tuple[float, float] | None:
    """Return when the latest training of another store took its first and its last step.

    Args:
        store: its address.

    Returns:
        Seconds since 1970, or None if its run does not tell.
    """
    (run,) = mlflow.MlflowClient(store).search_runs(["0"], max_results=1)
    tags = run.data.tags
    if not {"time.first_step", "time.last_step"} <= set(tags):
        return None
    return float(tags["time.first_step"]), float(tags["time.last_step"])


def trial_span(store: str) -> tuple[int, float]:
    """Return how many trials the one search of another store has, and how long they took.

    Args:
        store: its address.

    Returns:
        Their number, and the seconds from the first one's start to the last one's end.
    """
    runs = mlflow.MlflowClient(store).search_runs(["0"])
    trials = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    began = min(run.info.start_time for run in trials)
    ended = max(run.info.end_time for run in trials)
    return len(trials), (ended - began) / 1000
