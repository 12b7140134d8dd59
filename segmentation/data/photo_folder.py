"""A person's photos: which there are, and where what is made of them goes."""

import dataclasses
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from segmentation.config.commands import PredictOptions
from segmentation.data.oxford_pets import JPEG_ENDINGS
from segmentation.errors import ConfigError
from segmentation.utils.paths import casefold_key

TABLE = "predictions.csv"
#: What these endings promise is looked at; what a file is, its content tells.
ENDINGS = (*JPEG_ENDINGS, ".png", ".gif", ".webp")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhotoTask:
    photo: Path
    name: Path  # relative to the folder of the photos
    result: Path  # of what is made of it, relative to the folder of each kind, without ending

    def targets(self, options: PredictOptions) -> list[Path]:
        """Return the files that are written of it: mask, overlay, probabilities."""
        kinds = [("masks", "png")]
        kinds += [("overlays", "jpg")] if options.overlays else []
        kinds += [("probabilities", "png")] if options.probabilities else []
        return [options.output / kind / f"{self.result}.{ending}" for kind, ending in kinds]


def find_photos(images: Path, output: Path) -> tuple[list[PhotoTask], Counter[str]]:
    """Find the photos of a folder and all folders within, but not those in `output`.

    Hidden files and folders, and links to folders, are not looked at.

    Returns:
        A task for each photo, in the order of their paths, and how many files have which other
        ending. `images` may be a file too, whatever its ending.

    Raises:
        ConfigError: there is no such file or folder, no photo in it, or `output` is that folder.
    """
    if images.is_file():
        task = PhotoTask(photo=images, name=Path(images.name), result=Path(images.stem))
        return [task], Counter()
    if not images.is_dir():
        raise ConfigError(f"images={images}: there is no such file or folder")
    if images.resolve() == output.resolve():
        raise ConfigError(f"output={output}: is the folder of the photos; give another")
    files = list_files(images, output.resolve())
    names = [name for name in files if name.suffix.lower() in ENDINGS]
    others = Counter(n.suffix.lower() or "none" for n in files if n.suffix.lower() not in ENDINGS)
    if not names:
        found = ", ".join(f"{count} of {ending}" for ending, count in others.most_common(5))
        raise ConfigError(
            f"images={images}: no file there ends in {', '.join(ENDINGS)}"
            + (f"; there are {found}" if found else "")
        )
    pairs = zip(names, _results(names), strict=True)
    return [PhotoTask(photo=images / n, name=n, result=result) for n, result in pairs], others


def require_free(tasks: Sequence[PhotoTask], options: PredictOptions) -> None:
    """Refuse to overwrite files, unless that was asked for.

    Raises:
        ConfigError: a file that would be written is there, or `output` is a file.
    """
    output = options.output
    if output.exists() and not output.is_dir():
        raise ConfigError(f"output={output}: is a file; expected a folder")
    targets = [output / TABLE, *(path for task in tasks for path in task.targets(options))]
    existing = [path for path in targets if os.path.lexists(path)]
    if existing and not options.overwrite:
        raise ConfigError(
            f"output={output}: {len(existing)} of the {len(targets)} files to be written are there "
            f"already, such as {existing[0]}; give another folder, or say overwrite=true"
        )


def list_files(root: Path, but: Path | None = None, *, links: bool = False) -> list[Path]:
    """List the files of a folder and of all within but `but`, relative to it, not hidden ones.

    Where `links` to folders are followed, those in a circle are not.
    """
    found = []
    for folder, folders, files in os.walk(root, followlinks=links):
        here = Path(folder)
        closed = {but, *(one.resolve() for one in (here, *here.parents))}
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and (here / name).resolve() not in closed
        )
        found += [(here / name).relative_to(root) for name in sorted(files) if name[0] != "."]
    return found


def _results(names: Sequence[Path]) -> list[Path]:
    """Return a name without ending for what is made of each photo, no two of them alike.

    Where a.jpg and a.png lie side by side, their masks are a.jpg.png and a.png.png. Names that
    some file systems take for one, such as A and a, are alike.
    """
    results = [name.with_suffix("") for name in names]
    for number in range(len(names)):
        counts = Counter(casefold_key(str(result)) for result in results)
        clashing = [i for i, result in enumerate(results) if counts[casefold_key(str(result))] > 1]
        if not clashing:
            break
        for i in clashing:  # at first with their endings, then with a number as well
            results[i] = Path(f"{names[i]}") if not number else Path(f"{names[i]}-{i}")
    return results
