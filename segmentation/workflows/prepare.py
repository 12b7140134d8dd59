"""What `prepare` does: a data set downloaded, verified, reported in a run, and exported."""

import logging
from pathlib import Path

from segmentation.config.training import DataConfig
from segmentation.data.oxford_pets import read_list
from segmentation.data.prepare.download import download
from segmentation.data.prepare.export import require_new, write_splits
from segmentation.data.prepare.verification import verify
from segmentation.data.sources import Source, prepared_dataset, resolve_source
from segmentation.data.splits import split
from segmentation.errors import DataError
from segmentation.tracking.commands import mlflow_run, view_run
from segmentation.tracking.project_run import open_store
from segmentation.tracking.runs.run import tracked_run
from segmentation.utils.concurrency import Progress
from segmentation.utils.paths import printable, user_path

_log = logging.getLogger(__name__)


def prepare(data: str, output: str, config: DataConfig, progress: Progress) -> None:
    """Verify a data set, log a report of it, and say what to type next.

    Args:
        data: `download`, `synthetic` or a folder.
        output: a new folder for the chosen images and their masks; empty: none.
        config: which images are chosen, and what the border counts as.
        progress: told how many examples are verified.
    """
    target = user_path(output, "output")
    if output:
        require_new(target)
    open_store()
    source = _find(data)
    _log.info(source.summary)
    report = verify(source.root, progress)
    for line in report.lines():
        _log.info(line)
    text, root = "\n".join(report.lines()), printable(str(report.root))
    with tracked_run(f"prepare {Path(root).name}", {"data.source": root}) as run:
        run.log_metrics(report.metrics())
        run.log_text(text + "\n", "report.txt")
        run.describe(f"What lies in `{root}`:\n\n```\n{text[:4000]}\n```")
    if output:
        _export(source, config, target)
    _log.info("Look:  %s", view_run(run.id))
    if report.problems:
        raise DataError(
            f"{len(report.problems)} of the listed examples cannot be used (listed above); train "
            "with bad_examples=skip, or mend them"
        )
    _log.info("Next:  %s", mlflow_run("train", {} if data == "download" else {"data": data}))


def _find(data: str) -> Source:
    if data != "download":
        return resolve_source(data)
    if source := prepared_dataset():
        return source
    download()
    return resolve_source("auto")


def _export(source: Source, config: DataConfig, target: Path) -> None:
    chosen = split(read_list(source.root, "trainval"), config)
    splits = {"train": chosen.train, "val": chosen.val, "gate": chosen.gate}
    left_out = write_splits(splits, config.border, target)
    missing = f", without {len(left_out)} that cannot be used" if left_out else ""
    _log.info("Wrote the images and masks of train, val and gate to %s%s", target, missing)
