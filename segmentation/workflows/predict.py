"""Masks for a person's own photos: read ahead, computed in batches, written as they are done."""

import csv
import dataclasses
import errno
import io
import time
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from segmentation.data.photo_folder import TABLE, PhotoTask, PredictOptions
from segmentation.evaluation.figures import encode, overlay
from segmentation.models.predictor import BATCH, Model, Photo, one_thread_each, workers_for
from segmentation.tracking.registry.photo_model import PhotoError, mask_png, read_photo
from segmentation.tracking.summaries.predictions import PredictionSummary
from segmentation.utils.concurrency import Progress, batched, prefetch
from segmentation.utils.files import atomic_write, read_regular_file
from segmentation.utils.paths import printable

_COLUMNS = ("image", "mask", "width", "height", "pet_share", "problem")
#: After these nothing further can be written.
_FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """What the table says of one photo; without a mask where there is a problem."""

    image: str
    mask: str = ""
    width: int | None = None
    height: int | None = None
    pet_share: float | None = None
    problem: str = ""


def predict(
    model: Model, tasks: Sequence[PhotoTask], wanted: PredictOptions, progress: Progress
) -> PredictionSummary:
    """Write a mask for each photo, and a table of all; what is written is whole at any moment.

    Args:
        model: gives the probabilities.
        tasks: the photos.
        wanted: what to write.
        progress: told how many are done.

    Raises:
        OSError: nothing can be written any more; what was written by then stays, and the table
            tells, but for the last few where it was stopped by Ctrl-C.
        ModelError: the model fails.
    """

    def work(batch: Sequence[tuple[PhotoTask, bytes | str]]) -> tuple[list[Row], Exception | None]:
        done: list[Row] = []
        try:
            for row in _rows(model, batch, wanted):
                done.append(row)
        except Exception as error:
            return done, error
        return done, None

    began = time.perf_counter()
    shares: list[float] = []
    problems: list[str] = []
    wanted.output.mkdir(parents=True, exist_ok=True)
    with (
        atomic_write(wanted.output / TABLE, whatever_happens=True) as stream,
        io.TextIOWrapper(stream, "utf-8", "surrogateescape", newline="") as text,
        one_thread_each() as first,
    ):
        table = csv.writer(text, lineterminator="\n")
        table.writerow(_COLUMNS)
        inputs = batched(map(_read, tasks), BATCH)
        for rows, error in prefetch(work, inputs, workers_for(model.device), first):
            for row in rows:
                table.writerow(dataclasses.astuple(row))
                if row.pet_share is None:
                    problems.append(printable(f"{row.image} {row.problem}"))
                else:
                    shares.append(row.pet_share)
                progress(len(shares) + len(problems), len(tasks))
            if error is not None:
                raise error
    return PredictionSummary(
        photos=len(shares),
        problems=tuple(problems),
        pet_share=float(np.mean(shares)) if shares else float("nan"),
        seconds=time.perf_counter() - began,
    )


def _read(task: PhotoTask) -> tuple[PhotoTask, bytes | str]:
    """Read a file, or say why that is not possible."""
    try:
        return task, read_regular_file(task.photo)
    except OSError as error:
        return task, f"cannot be read ({error.strerror or error})"


def _rows(
    model: Model, batch: Sequence[tuple[PhotoTask, bytes | str]], wanted: PredictOptions
) -> Iterator[Row]:
    """Make and write the results of a batch; yield them as they are written."""
    good: list[tuple[PhotoTask, bytes]] = []
    bad: list[Row] = []

    def decoded() -> Iterator[Photo]:
        for task, content in batch:
            try:
                if isinstance(content, str):
                    raise PhotoError(content)
                photo = read_photo(content)
            except PhotoError as error:
                bad.append(Row(image=str(task.name), problem=str(error)))
                continue
            good.append((task, content))
            yield photo

    for position, probability in enumerate(model(decoded())):
        task, content = good[position]
        try:
            yield _written(task, probability, content, wanted)
        except OSError as error:
            if error.errno in _FATAL:
                raise
            problem = f"cannot be written ({error.strerror or error})"
            yield Row(image=str(task.name), problem=problem)
    yield from bad


def _written(
    task: PhotoTask, probability: NDArray[np.float32], content: bytes, wanted: PredictOptions
) -> Row:
    """Write what is wanted of one photo."""
    mask = probability > wanted.threshold
    contents = [mask_png(mask)]
    if wanted.overlays:  # decoded once more: kept, a batch of large photos would take gigabytes
        contents.append(encode(overlay(read_photo(content), mask), "JPEG", quality=90))
    if wanted.probabilities:
        contents.append(encode((probability * 255).round().astype(np.uint8), "PNG"))
    targets = task.targets(wanted)
    for path, made in zip(targets, contents, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as stream:
            stream.write(made)
    return Row(
        image=str(task.name),
        mask=str(targets[0].relative_to(wanted.output)),
        width=mask.shape[1],
        height=mask.shape[0],
        pet_share=round(np.count_nonzero(mask) / mask.size, 6),
    )
