"""What a run was made from: its data sets, as MLflow knows them, and who is in which split."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mlflow.data.dataset_source_registry import get_dataset_source_from_json
from mlflow.data.meta_dataset import MetaDataset

from segmentation.data.dataset import SplitDataset
from segmentation.tracking.logging.run_logger import RunLogger
from segmentation.utils.paths import printable

_CONTEXTS = {"train": "training", "val": "validation"}


def log_splits(run: RunLogger, splits: Mapping[str, SplitDataset], source: Path) -> None:
    """Log the data sets with their digests, who is in which split, and what was left out."""
    log_datasets(run, splits, source)
    # With digests, by which other runs know these images under whatever name.
    members = {
        name: {
            example.id: digest
            for example, digest in zip(split.examples, split.digests, strict=True)
        }
        for name, split in splits.items()
    }
    run.log_dict(members, "splits.json")
    log_problems(run, [problem for split in splits.values() for problem in split.problems])


def log_datasets(run: RunLogger, splits: Mapping[str, SplitDataset], source: Path) -> None:
    """Log the data sets with their digests."""
    run.log_inputs(list(_inputs(splits, source)))


def log_problems(run: RunLogger, problems: Sequence[str]) -> None:
    """Log which examples were left out, and why, if any were."""
    if problems:
        run.log_text("\n".join(problems) + "\n", "bad_examples.txt")


def _inputs(splits: Mapping[str, SplitDataset], source: Path) -> Iterator[tuple[MetaDataset, str]]:
    for name, split in splits.items():
        yield dataset(split.name, split.digest, source), _CONTEXTS.get(name, name)


def dataset(split: str, digest: str, source: Path) -> MetaDataset:
    """Describe a split to MLflow; of the digest of its files it keeps 36 characters."""
    folder = get_dataset_source_from_json(json.dumps({"uri": printable(str(source))}), "local")
    return MetaDataset(  # type: ignore[abstract]  # complete, if not by its annotations
        folder, name=f"pets-{split}", digest=digest[:36]
    )
