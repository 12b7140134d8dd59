"""Masks for a person's own photos: read ahead, computed in batches, written as they are done."""

import csv
import dataclasses
import io
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segmentation.errors import ConfigError
from segmentation.figures import overlay
from segmentation.inference import BATCH, Model, Photo, one_thread_each, workers_for
from segmentation.parallel import Progress, ahead, batched
from segmentation.staging import replaced
from segmentation.tracking.photos import PhotoError, mask_png, read_photo

TABLE = "predictions.csv"
#: What these endings promise is looked at; what a file is, its content tells.
ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".webp")
_COLUMNS = ("image", "mask", "width", "height", "pet_share", "problem")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to write for each photo.

    Attributes:
        output: the folder.
        threshold: the probability above which a pixel is pet, in (0, 1).
        overlays: whether the photo with the mask over it is written too.
        probabilities: whether grey pictures of the probability, 0 to 255, are written too.
    """

    output: Path
    threshold: float = 0.5
    overlays: bool = False
    probabilities: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """One photo.

    Attributes:
        photo: its file.
        name: its path relative to the folder that was asked for.
        result: the same for what is made of it, without ending.
    """

    photo: Path
    name: Path
    result: Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """What the table says of one photo; without a mask where there is a problem."""

    image: str
    mask: str = ""
    width: int | None = None
    height: int | None = None
    pet_share: float | None = None
    problem: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predicted:
    """A finished prediction.

    Attributes:
        photos: how many there are masks of.
        problems: a line for each that could not be read.
        pet_share: mean over the photos, in [0, 1]; NaN if there is none.
        seconds: wall time.
    """

    photos: int
    problems: tuple[str, ...]
    pet_share: float
    seconds: float


def find_photos(images: Path, output: Path) -> tuple[list[Task], Counter[str]]:
    """Find the photos of a folder and all folders within, but not those in `output`.

    Hidden files and folders, and links to folders, are not looked at.

    Args:
        images: a file, whatever its ending, or a folder.
        output: where results go.

    Returns:
        A task for each photo, in the order of their paths, and how many files have which other
        ending.

    Raises:
        ConfigError: there is no such file or folder, or no photo in it.
    """
    if images.is_file():
        return [Task(photo=images, name=Path(images.name), result=Path(images.stem))], Counter()
    if not images.is_dir():
        raise ConfigError(f"images={images}: there is no such file or folder")
    names, others = [], Counter[str]()
    for folder, folders, files in os.walk(images):
        here = Path(folder)
        folders[:] = sorted(f for f in folders if not f.startswith(".") and here / f != output)
        for file in sorted(files):
            if file.startswith("."):
                continue
            ending = Path(file).suffix.lower()
            if ending in ENDINGS:
                names.append((here / file).relative_to(images))
            else:
                others[ending or "none"] += 1
    if not names:
        found = ", ".join(f"{count} of {ending}" for ending, count in others.most_common(5))
        raise ConfigError(
            f"images={images}: no file there ends in {', '.join(ENDINGS)}"
            + (f"; there are {found}" if found else "")
        )
    plain = Counter(name.with_suffix("") for name in names)
    # Where a.jpg and a.png lie side by side, their masks are a.jpg.png and a.png.png.
    results = [name if plain[name.with_suffix("")] > 1 else name.with_suffix("") for name in names]
    tasks = [
        Task(photo=images / name, name=name, result=result)
        for name, result in zip(names, results, strict=True)
    ]
    return tasks, others


def require_free(tasks: Sequence[Task], wanted: Wanted) -> None:
    """Refuse to overwrite anything.

    Raises:
        ConfigError: a file that would be written is there.
    """
    output = wanted.output
    if output.exists() and not output.is_dir():
        raise ConfigError(f"output={output}: is a file; expected a folder")
    targets = [output / TABLE, *(path for task in tasks for path in _targets(task, wanted))]
    there = [path for path in targets if os.path.lexists(path)]
    if there:
        raise ConfigError(
            f"output={output}: {len(there)} of the {len(targets)} files to be written are there "
            f"already, such as {there[0]}; give another folder, or say overwrite=true"
        )


def predict(model: Model, tasks: Sequence[Task], wanted: Wanted, progress: Progress) -> Predicted:
    """Write a mask for each photo, and a table of all; what is written is whole at any moment.

    Args:
        model: gives the probabilities.
        tasks: the photos.
        wanted: what to write.
        progress: told how many are done.

    Raises:
        OSError: something cannot be written; what was written by then stays, and the table tells.
    """

    def work(batch: Sequence[tuple[Task, bytes | str]]) -> list[Row]:
        return list(_rows(model, batch, wanted))

    began = time.perf_counter()
    shares: list[float] = []
    problems: list[str] = []
    wanted.output.mkdir(parents=True, exist_ok=True)
    with (
        replaced(wanted.output / TABLE, whatever_happens=True) as stream,
        io.TextIOWrapper(stream, "utf-8", "surrogateescape", newline="") as text,
        one_thread_each() as first,
    ):
        table = csv.writer(text, lineterminator="\n")
        table.writerow(_COLUMNS)
        inputs = batched(map(_read, tasks), BATCH)
        for rows in ahead(work, inputs, workers_for(model.device), first):
            for row in rows:
                table.writerow(dataclasses.astuple(row))
                if row.pet_share is None:
                    problems.append(f"{row.image} {row.problem}")
                else:
                    shares.append(row.pet_share)
                progress(len(shares) + len(problems), len(tasks))
    return Predicted(
        photos=len(shares),
        problems=tuple(problems),
        pet_share=float(np.mean(shares)) if shares else float("nan"),
        seconds=time.perf_counter() - began,
    )


def _read(task: Task) -> tuple[Task, bytes | str]:
    """Read a file, or say why that is not possible."""
    try:
        return task, task.photo.read_bytes()
    except OSError as error:
        return task, f"cannot be read ({error.strerror or error})"


def _rows(model: Model, batch: Sequence[tuple[Task, bytes | str]], wanted: Wanted) -> Iterator[Row]:
    """Make and write the results of a batch."""
    good: list[Task] = []
    pixels: list[Photo] = []
    rows: dict[Path, Row] = {}

    def decoded() -> Iterator[Photo]:
        for task, content in batch:
            try:
                if isinstance(content, str):
                    raise PhotoError(content)
                photo = read_photo(content)
            except PhotoError as error:
                rows[task.name] = Row(image=str(task.name), problem=str(error))
                continue
            good.append(task)
            if wanted.overlays:
                pixels.append(photo)
            yield photo

    for position, probability in enumerate(model(decoded())):
        task = good[position]
        photo = pixels[position] if wanted.overlays else None
        rows[task.name] = _written(task, probability, photo, wanted)
    for task, _ in batch:
        yield rows[task.name]


def _written(
    task: Task, probability: NDArray[np.float32], photo: Photo | None, wanted: Wanted
) -> Row:
    """Write what is wanted of one photo."""
    mask = probability > wanted.threshold
    contents = [mask_png(mask)]
    if photo is not None:
        contents.append(_encoded(overlay(photo, mask), "JPEG", quality=90))
    if wanted.probabilities:
        contents.append(_encoded((probability * 255).round().astype(np.uint8), "PNG"))
    targets = _targets(task, wanted)
    for path, content in zip(targets, contents, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as stream:
            stream.write(content)
    return Row(
        image=str(task.name),
        mask=str(targets[0].relative_to(wanted.output)),
        width=mask.shape[1],
        height=mask.shape[0],
        pet_share=round(float(mask.mean()), 6),
    )


def _targets(task: Task, wanted: Wanted) -> list[Path]:
    """Return the files that are written of a photo."""
    result = str(task.result)
    targets = [wanted.output / "masks" / f"{result}.png"]
    if wanted.overlays:
        targets.append(wanted.output / "overlays" / f"{result}.jpg")
    if wanted.probabilities:
        targets.append(wanted.output / "probabilities" / f"{result}.png")
    return targets


def _encoded(picture: NDArray[np.uint8], form: str, **options: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, form, **options)
    return stream.getvalue()
