"""A verified data set as an MLflow run."""

import mlflow

from segmentation.tracking.runs import describe, tracked_run
from segmentation.verification import Report


def log_report(report: Report) -> str:
    """Log counts and shares as metrics and the report as text; return the run id."""
    text = "\n".join(report.lines())
    with tracked_run(f"prepare {report.root.name}", {"data.source": str(report.root)}) as run:
        mlflow.log_metrics(report.metrics())
        mlflow.log_text(text + "\n", "report.txt")
        describe(f"What lies in `{report.root}`:\n\n```\n{text[:4000]}\n```")
    return run.id
