"""What lies in the cache folder, and what of it can go.

Only what this program has made, known by its name, is looked at, and never through a link.
"""

import contextlib
import dataclasses
import functools
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from segmentation.config.shrink import ShrinkConfig
from segmentation.data.cache import decoded_folder
from segmentation.utils.files import remove_stale_partials, stale_partials
from segmentation.utils.inventory import Category, Item
from segmentation.utils.locks import is_held
from segmentation.utils.paths import cache_folder, runs_folder

# What lies in the folder of a run: see segmentation/tracking/logging/run_logger.py.
_LOCK, _OUTBOX = "lock", "outbox"
_RUN = re.compile(r"(?:\.(?P<going>[0-9a-f]{32})\.going)|(?P<run>[0-9a-f]{32})")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunFolder:
    """What a training keeps on this machine until it has ended.

    Attributes:
        path: of the folder.
        run_id: MLflow's.
        changed: when something in it was last written, in seconds since 1970.
        undelivered: whether it holds figures or files that the tracking store has not.
        written: whether a process writes there now.
        going: whether its removal had begun.
    """

    path: Path
    run_id: str
    changed: float
    undelivered: bool
    written: bool
    going: bool

    def remove(self) -> bool:
        """Remove it, unless somebody has gone on with it; return whether that was done.

        Out of sight first, so that nobody ever finds the half of a checkpoint.
        """
        target = self.path.with_name(f".{self.run_id}.going")
        if not self.going:
            if _changed(self.path) != self.changed:
                return False
            try:
                with FileLock(self.path / _LOCK).acquire(timeout=0):
                    if _undelivered(self.path):
                        return False
                    shutil.rmtree(target, ignore_errors=True)
                    self.path.rename(target)
            except (FileNotFoundError, Timeout):  # its training has just ended, or begun again
                return False
        elif not target.exists():  # another one of us was sooner
            return False
        shutil.rmtree(target, ignore_errors=True)
        return not target.exists()


def run_folders() -> list[RunFolder]:
    """Return the folders of trainings that are on this machine."""
    return [
        RunFolder(
            path=path,
            run_id=match["run"] or match["going"],
            changed=_changed(path),
            undelivered=_undelivered(path),
            written=is_held(path / _LOCK),
            going=match["going"] is not None,
        )
        for path in _folders(runs_folder())
        if (match := _RUN.fullmatch(path.name))
    ]


def cache_kinds(asked: ShrinkConfig) -> list[Category]:
    """Return what is kept in the cache folder, but for what trainings keep there."""
    return [_decoded(asked), _partial(asked), _data()]


def _decoded(asked: ShrinkConfig) -> Category:
    folder = decoded_folder()
    things = []
    if folder.is_dir() and not folder.is_symlink():
        remove = functools.partial(_remove, folder) if asked.caches else None
        things = [Item(name=folder.name, size=size_of(folder), remove=remove)]
    note = "makes trainings start sooner; decoded again when needed"
    return Category(name="decoded images", things=things, note=note)


def _remove(folder: Path) -> bool:
    there = folder.exists()
    shutil.rmtree(folder, ignore_errors=True)
    return there


def _partial(asked: ShrinkConfig) -> Category:
    """Return what killed downloads and drawings have left."""
    things = [
        Item(
            name=f"unfinished {target.name}",
            size=sum(map(size_of, folders)),
            remove=functools.partial(remove_stale_partials, target) if asked.caches else None,
        )
        for target, folders in stale_partials(cache_folder()).items()
    ]
    return Category(name="unfinished data", things=things, note="of nothing any use")


def _data() -> Category:
    made = re.compile(r"oxford-iiit-pet|(?:synthetic|benchmark)-[0-9-]+")
    things = [
        Item(name=path.name, size=size_of(path))
        for path in _folders(cache_folder())
        if made.fullmatch(path.name)
    ]
    note = (
        f"downloaded or drawn, in {cache_folder()}: {', '.join(thing.name for thing in things)}; "
        "remove by hand what nothing trains on, it is made again when needed"
    )
    return Category(name="data sets", things=things, note=note)


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(found.st_size for found in _stats(folder) if stat.S_ISREG(found.st_mode))


def _changed(folder: Path) -> float:
    return max((found.st_mtime for found in _stats(folder)), default=0.0)


def _stats(folder: Path) -> Iterator[os.stat_result]:
    """Yield what is known of a folder and all within, without following links."""
    paths = [folder]
    for parent, folders, files in os.walk(folder):
        paths += [Path(parent, name) for name in (*folders, *files)]
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # others may be removing it
            yield path.lstat()


def _folders(parent: Path) -> list[Path]:
    """Return the folders in a folder, but none that is a link or is reached by one."""
    if parent.is_symlink() or not parent.is_dir():
        return []
    return sorted(path for path in parent.iterdir() if path.is_dir() and not path.is_symlink())


def _undelivered(folder: Path) -> bool:
    """Tell whether the folder of a run holds what its tracking store has not."""
    outbox = folder / _OUTBOX
    if outbox.is_symlink() or outbox.is_file():  # nothing that this program has made
        return True
    return outbox.is_dir() and any(outbox.iterdir())
