"""Masks for a person's own photos: computed in batches, written as they are done."""

import contextlib
import csv
import dataclasses
import errno
import io
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.config.commands import PredictOptions
from segmentation.config.training import Config
from segmentation.data.photo_folder import TABLE, PhotoTask, find_photos, require_free
from segmentation.evaluation.pictures import Mask, Picture, encode, overlay
from segmentation.evaluation.scoring import THRESHOLD
from segmentation.models.predictor import BATCH, Model, Photo, one_thread_each, workers_for
from segmentation.runtime.device import choose_compute
from segmentation.tracking.commands import view_run
from segmentation.tracking.project_run import open_store
from segmentation.tracking.registry.loading import LoadedModel, default_model, load
from segmentation.tracking.registry.photo_model import PhotoError, mask_png, read_photo
from segmentation.tracking.runs.run import tracked_run
from segmentation.tracking.summaries.images import OVERLAYS, log_overlays
from segmentation.utils.concurrency import Progress, batched, prefetch
from segmentation.utils.files import atomic_write, read_regular_file
from segmentation.utils.paths import printable, user_path

_COLUMNS = ("image", "mask", "width", "height", "pet_share", "problem")
#: What the table says of a photo, by column: its mask, or the problem.
_Row = dict[str, Any]
#: After these nothing further can be written.
_FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
_log = logging.getLogger(__name__)


def predict(
    options: PredictOptions,
    config: Config,
    progress: Progress,
    model: LoadedModel | None = None,
    *,
    kept: bool = True,
) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Write a mask for a photo, or each of a folder, and log a run of it; no address: the champion.

    Unless they are `kept`, the files are the caller's, who reads them.

    Returns:
        Each photo with its mask's file, and a line for each that could not be used.
    """
    images = user_path(options.images, "images")
    options = dataclasses.replace(options, output=user_path(str(options.output), "output"))
    tasks, others = find_photos(images, options.output)
    require_free(tasks, options)
    open_store()
    compute = choose_compute(config.training)
    address = options.model or default_model("champion")
    loaded = model or load(address, compute.device, allow_pickle=options.allow_pickle)
    _log.info("Model: %s, on %s", loaded.label, loaded.model.device.type)
    if options.threshold is None:
        options = dataclasses.replace(options, threshold=loaded.threshold)
        if loaded.threshold != THRESHOLD:
            _log.info("Threshold: %g, the model's own", loaded.threshold)
    for ending, count in sorted(others.items()):
        _log.info("Not looked at: %d file(s), ending: %s", count, ending)
    started = time.perf_counter()
    shares, problems = write_masks(loaded.model, tasks, options, progress)
    done = [task for task in tasks if task.name in shares]
    output = printable(str(options.output)) if kept else "memory"
    seconds = time.perf_counter() - started
    name = f"predict {len(shares)} photos with {loaded.label}"
    with tracked_run(name, {"model": loaded.label}) as run:
        run.log_params({"model": loaded.label, "output": output})
        passed = not kept and images.parent == options.output.parent  # as pixels
        given = {
            "images": None if passed else printable(str(images)),
            "output": output if kept else None,
            "model": loaded.address,
            "device": loaded.model.device.type,
        }
        run.log_settings(dataclasses.asdict(options) | given)
        run.status = "FAILED" if problems else "FINISHED"
        metrics = {
            "photos": len(shares),
            "problems": len(problems),
            "seconds": seconds,
            "photos_per_second": len(shares) / seconds,
            **({"pet_share": float(np.mean([*shares.values()]))} if shares else {}),
        }
        run.log_metrics({f"predict/{name}": value for name, value in metrics.items()})
        run.log_artifact(options.output / TABLE, TABLE)
        if shares:
            log_overlays(run, _found(done, options), "found")
        some = f"Some of the photos, what was found in green: `{OVERLAYS}`. " if shares else ""
        listed = "".join(f"- {problem}\n" for problem in problems)[:4000]
        run.describe(
            f"{len(shares)} masks by {loaded.label} in `{output}`.\n\n"
            f"{some}All are listed in `{TABLE}`.\n\n"
            + (f"Could not be used:\n\n{listed}" if problems else "")
        )
    for problem in problems:
        _log.info("Left out: %s", problem)
    if shares:
        _log.info(
            f"Wrote {len(shares)} mask{'s'[: len(shares) > 1]} to {output}{'/masks' * kept}, "
            f"{len(shares) / seconds:.0f} photos/s; "
            f"on average {np.mean([*shares.values()]):.1%} is foreground"
        )
    if kept:
        _log.info("Table: %s/%s", output, TABLE)
    _log.info("Look:  %s", view_run(run.id))
    return [(task.photo, task.targets(options)[0]) for task in done], problems


def _found(
    tasks: Sequence[PhotoTask], options: PredictOptions
) -> Iterator[tuple[str, Picture, Mask]]:
    """Yield the photos that have masks, by their names."""
    for task in tasks:
        path = task.targets(options)[0]
        with contextlib.suppress(PhotoError, OSError):  # it may have gone in between
            photo, mask = (read_photo(read_regular_file(one)) for one in (task.photo, path))
            yield printable(str(task.name)), photo, mask[..., 0] > 0


def write_masks(
    model: Model, tasks: Sequence[PhotoTask], options: PredictOptions, progress: Progress
) -> tuple[dict[Path, float], list[str]]:
    """Write a mask for each photo, and a table of all; what is written is whole at any moment.

    An OSError ends it where nothing can be written any more; what was written by then stays, and
    the table has it, but for the last few where Ctrl-C came.

    Returns:
        The share of pet in [0, 1], by the photo's name, and a line for each that could not be used.
    """

    def work(batch: Sequence[PhotoTask]) -> tuple[list[_Row], Exception | None]:
        rows: list[_Row] = []
        try:
            for row in _rows(model, batch, options):
                rows.append(row)  # one by one: after an error those before it count
        except Exception as error:
            return rows, error
        return rows, None

    shares: dict[Path, float] = {}
    problems: list[str] = []
    options.output.mkdir(parents=True, exist_ok=True)
    with (
        atomic_write(options.output / TABLE, whatever_happens=True) as stream,
        io.TextIOWrapper(stream, "utf-8", "surrogateescape", newline="") as text,
        one_thread_each() as first,
    ):
        table = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
        table.writeheader()
        for rows, error in prefetch(work, batched(tasks, BATCH), workers_for(model.device), first):
            for row in rows:
                table.writerow(row)
                if "problem" in row:
                    problems.append(printable(f"{row['image']} {row['problem']}"))
                else:
                    shares[row["image"]] = row["pet_share"]
                progress(len(shares) + len(problems), len(tasks))
            if error is not None:
                raise error
    return shares, problems


def _rows(model: Model, batch: Sequence[PhotoTask], options: PredictOptions) -> Iterator[_Row]:
    """Write the results of a batch; yield what the table says as they are written."""
    readable: list[tuple[PhotoTask, bytes]] = []
    bad: list[_Row] = []

    def photos() -> Iterator[Photo]:
        for task in batch:
            try:
                content = read_regular_file(task.photo)
                photo = read_photo(content)
            except OSError as error:
                problem = f"cannot be read ({error.strerror or error})"
                bad.append({"image": task.name, "problem": problem})
            except PhotoError as error:
                bad.append({"image": task.name, "problem": str(error)})
            else:
                readable.append((task, content))
                yield photo

    for position, probability in enumerate(model(photos())):
        task, content = readable[position]
        try:
            yield _write(task, probability, content, options)
        except OSError as error:
            if error.errno in _FATAL:
                raise
            problem = f"cannot be written ({error.strerror or error})"
            yield {"image": task.name, "problem": problem}
    yield from bad


def _write(
    task: PhotoTask, probability: NDArray[np.float32], content: bytes, options: PredictOptions
) -> _Row:
    mask = probability > (options.threshold or THRESHOLD)
    contents = [mask_png(mask)]
    if options.overlays:  # decoded once more: kept, a batch of large photos would take gigabytes
        contents.append(encode(overlay(read_photo(content), mask), "JPEG", quality=90))
    if options.probabilities:
        contents.append(encode((probability * 255).round().astype(np.uint8), "PNG"))
    targets = task.targets(options)
    for path, encoded in zip(targets, contents, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as stream:
            stream.write(encoded)
    return {
        "image": task.name,
        "mask": targets[0].relative_to(options.output),
        "width": mask.shape[1],
        "height": mask.shape[0],
        "pet_share": round(np.count_nonzero(mask) / mask.size, 6),
    }
