"""What a training was made from: its data sets, as MLflow knows them, and who is in which split."""

import json
from collections.abc import Mapping, Sequence

import mlflow
from mlflow.data.dataset_source_registry import get_dataset_source_from_json
from mlflow.data.meta_dataset import MetaDataset
from mlflow.exceptions import MlflowException

from segmentation.data.dataset import SplitDataset
from segmentation.data.sources import Source
from segmentation.tracking.logging.run_logger import RunLogger
from segmentation.utils.paths import printable

#: Of each split, the SHA-256 of the image file by the example's id: others know it by that.
Splits = dict[str, dict[str, str]]

_FILE = "splits.json"
_CONTEXTS = {"train": "training", "val": "validation"}


def log_splits(run: RunLogger, splits: Mapping[str, SplitDataset], source: Source) -> None:
    """Log the data sets with their digests, who is in which split, and what was left out."""
    log_datasets(run, splits, source)
    members = {
        name: dict(zip([one.id for one in split.examples], split.digests, strict=True))
        for name, split in splits.items()
    }
    run.log_text(json.dumps(members, indent=2), _FILE)
    log_problems(run, [problem for split in splits.values() for problem in split.problems])


def log_datasets(run: RunLogger, splits: Mapping[str, SplitDataset], source: Source) -> None:
    """Log the data sets with their digests."""
    run.log_inputs(
        [
            (dataset(split.name, split.digest, source), _CONTEXTS.get(name, name))
            for name, split in splits.items()
        ]
    )


def log_problems(run: RunLogger, problems: Sequence[str]) -> None:
    """Log which examples were left out, and why, if any were."""
    if problems:
        run.log_text("\n".join(problems) + "\n", "bad_examples.txt")


def dataset(split: str, digest: str, source: Source) -> MetaDataset:
    """Describe a split to MLflow; of the digest of its files it keeps 36 characters."""
    folder = get_dataset_source_from_json(json.dumps({"uri": printable(str(source.root))}), "local")
    return MetaDataset(  # type: ignore[abstract]  # complete, if not by its annotations
        folder, name=f"{source.kind}-{split}", digest=digest[:36]
    )


def training_splits(run_id: str | None) -> Splits | None:
    """Return who is in which split of a training, or None if that is not known."""
    if not run_id:
        return None
    try:
        splits = json.loads(mlflow.artifacts.load_text(f"runs:/{run_id}/{_FILE}"))
    except (MlflowException, OSError, ValueError):
        return None
    known = isinstance(splits, dict) and all(isinstance(part, dict) for part in splits.values())
    return splits if known else None


def seen_images(run_id: str | None) -> frozenset[str] | None:
    """Return the SHA-256 of all image files that a training saw, or None if that is not known."""
    splits = training_splits(run_id)
    if splits is None:
        return None
    return frozenset(digest for split in splits.values() for digest in split.values())
