"""A verified data set as an MLflow run."""

from collections.abc import Mapping, Sequence

import mlflow

from segmentation.config import DataConfig
from segmentation.pets import Example
from segmentation.tracking.runs import describe, tracked_run
from segmentation.verification import Report


def log_report(report: Report, splits: Mapping[str, Sequence[Example]], config: DataConfig) -> str:
    """Log counts and shares as metrics, the report as text, the splits' ids; return the run id."""
    text = "\n".join(report.lines())
    with tracked_run(f"prepare {report.root.name}", {"data.source": str(report.root)}) as run_id:
        mlflow.log_metrics(report.metrics())
        mlflow.log_params(
            {
                "data.train_images": config.train_images,
                "data.val_images": config.val_images,
                "data.split_seed": config.split_seed,
                "data.border": config.border,
            }
        )
        mlflow.log_text(text + "\n", "report.txt")
        mlflow.log_dict(
            {name: [example.id for example in part] for name, part in splits.items()},
            "splits.json",
        )
        describe(f"What lies in `{report.root}`:\n\n```\n{text[:4000]}\n```")
    return run_id
