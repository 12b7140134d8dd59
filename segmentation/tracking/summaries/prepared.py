"""A verified data set as an MLflow run."""

from pathlib import Path

from segmentation.data.prepare.verification import Report
from segmentation.tracking.runs.run import tracked_run
from segmentation.utils.paths import printable


def log_report(report: Report) -> str:
    """Log counts and shares as metrics and the report as text; return the run id."""
    text = "\n".join(report.lines())
    root = printable(str(report.root))
    with tracked_run(f"prepare {Path(root).name}", {"data.source": root}) as run:
        run.log_metrics(report.metrics())
        run.log_text(text + "\n", "report.txt")
        run.describe(f"What lies in `{root}`:\n\n```\n{text[:4000]}\n```")
    return run.id
