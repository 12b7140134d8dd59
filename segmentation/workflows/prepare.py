"""What `prepare` does: a data set downloaded, verified, reported in a run, and exported."""

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from segmentation.config.training import OF_PREPARE, Config, DataConfig
from segmentation.data.images.examples import binary_mask, decode, read_files
from segmentation.data.prepare.download import download
from segmentation.data.prepare.export import GROUPS, require_new, write_splits
from segmentation.data.prepare.verification import Report, verify
from segmentation.data.sources import Source, prepared_dataset, resolve_source
from segmentation.data.splits import split
from segmentation.errors import DataError
from segmentation.evaluation.pictures import Mask, Picture
from segmentation.tracking.commands import mlflow_run, view_run
from segmentation.tracking.project_run import open_store
from segmentation.tracking.runs.run import tracked_run
from segmentation.tracking.summaries.images import OVERLAYS, log_overlays
from segmentation.utils.concurrency import Progress
from segmentation.utils.paths import printable, user_path

_log = logging.getLogger(__name__)


def prepare(data: str, output: str, config: Config, progress: Progress) -> Path:
    """Verify a data set, log a report of it, and say what to type next; return its folder.

    It is `download`, `synthetic` or a folder. The images that `config` chooses, and their masks,
    are written to the new folder `output`, unless that is empty.
    """
    target = user_path(output, "output")
    if output:
        require_new(target)
    open_store()
    source = _find(data, config.data)
    _log.info(source.summary)
    report = verify(source, progress)
    for line in report.lines():
        _log.info(line)
    text, root = "\n".join(report.lines()), printable(str(source.root))
    with tracked_run(f"prepare {Path(root).name}", {"data.source": root}) as run:
        kept = {"data": source.name, "output": printable(str(target)) if output else ""}
        run.log_settings(kept | config.used(OF_PREPARE))
        run.log_metrics(report.metrics())
        run.log_text(text + "\n", "report.txt")
        if report.good:
            log_overlays(run, _mixed(report, config.data.border), report.labels.noun)
        shown = f"Some of them with their masks: `{OVERLAYS}`." * bool(report.good)
        run.describe(f"What lies in `{root}`:\n\n```\n{text[:4000]}\n```\n\n{shown}")
    if output:
        _export(source, config.data, target)
    if report.good:
        _log.info(f"Sheet: {OVERLAYS}, among that run's artifacts, shows some with their masks")
    _log.info("Look:  %s", view_run(run.id))
    if report.problems:
        raise DataError(
            f"{len(report.problems)} of {sum(report.counts.values())} examples cannot be used (see "
            "above); train with bad_examples=skip, or mend them"
        )
    given = {"download": {}, "synthetic": {"data": data}}.get(data, source.options)
    _log.info("Next:  %s", mlflow_run("train", given))
    return source.root


def _find(data: str, config: DataConfig) -> Source:
    config = dataclasses.replace(config, source="auto" if data == "download" else data)
    if data != "download":
        return resolve_source(config)
    if source := prepared_dataset(config):
        return source
    download()
    return resolve_source(config)


def _mixed(report: Report, border: str) -> Iterator[tuple[str, Picture, Mask]]:
    """Yield the images by their names, always in the same mixed order, with their masks."""
    examples = [*report.good]
    for lot in np.random.default_rng(0).permutation(len(examples)):
        example = examples[lot]
        pixels = decode(example, *read_files(example))
        yield example.id, pixels.image, binary_mask(pixels.trimap, border)[0] == 1


def _export(source: Source, config: DataConfig, target: Path) -> None:
    chosen = split(source.trainval(), config)
    splits = {"train": chosen.train, "val": chosen.val, "gate": chosen.gate}
    grouped = config.groups != "none"
    left_out = write_splits(splits, config.border, target, grouped=grouped)
    missing = f", without {len(left_out)} that cannot be used" if left_out else ""
    _log.info("Wrote the images and masks of train, val and gate to %s%s", target, missing)
    given = {"data": printable(str(target))}
    if config.border == "ignore" or source.labels.ignored:
        given |= {"foreground": "1", "ignore": "2"}
    if source.labels.empty:
        given["empty"] = "allow"
    if grouped:
        given["groups"] = printable(str(target / GROUPS))
    _log.info("Train on these: %s", mlflow_run("train", given))
