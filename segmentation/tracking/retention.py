"""What can go: versions, checkpoints and decoded images that nobody needs any more.

A store that was copied or moved still holds the addresses of the first one's files, and several
stores share one cache folder: only what provably belongs to this very store can go.
"""

import contextlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import mlflow
from mlflow.entities import LoggedModel
from mlflow.entities import Run as MlflowRun
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from segmentation.config.shrink import ShrinkConfig
from segmentation.data.cache import decoded_folder
from segmentation.tracking.addresses import in_this_store
from segmentation.tracking.artifacts import discard, remove_at, size_at, versions_of
from segmentation.tracking.runs.run_folder import BusyError, RunFolder, run_folders
from segmentation.tracking.runs.training_run import CHECKPOINTS as UPLOADED
from segmentation.tracking.store import find_run, find_runs, store_lock
from segmentation.tracking.tags import SETTINGS, read

VERSIONS, CHECKPOINTS, DECODED = "versions", "checkpoints", "decoded images"
#: All that the decoded cache writes, also in its layout of earlier versions of this program.
_CACHED = re.compile(r"\d+/([0-9a-f]{64}\.npz|\.partial-\w+)|\d+\.(sqlite(-wal|-shm)?|users)")

#: The files in a folder and in its folders, with what is known of each.
Files = dict[Path, os.stat_result]


class Item(NamedTuple):
    """Something that is kept, of one of the kinds above."""

    kind: str
    name: str
    size: int  # in bytes
    #: Deletes it unless somebody has begun to need it, and tells whether it did; None: it stays.
    delete: Callable[[], bool] | None


def find_items(config: ShrinkConfig, now: float) -> list[Item]:
    """Return what is kept; what is younger than `config.older` stays, by `now` in Unix seconds."""
    before = now - config.seconds
    return [
        *_versions(config, before),
        *_local_checkpoints(before if config.checkpoints else 0),
        *_uploaded_checkpoints(before if config.checkpoints else 0),
        *_decoded(before if config.caches else 0),
    ]


def _versions(config: ShrinkConfig, before: float) -> Iterator[Item]:
    models = mlflow.search_registered_models()
    aliased = {(model.name, str(v)) for model in models for v in model.aliases.values()}
    found = mlflow.search_model_versions()
    uses = Counter(version.source for version in found)
    # Other programs' versions have no such tag. Those of a search can be needed when it goes on.
    own = [v for v in found if v.tags.get("run") == v.run_id and "study.id" not in v.tags]
    rank: Counter[str] = Counter()
    for version in sorted(own, key=lambda one: -int(one.version)):
        if (model := _model_of(version)) is None:
            continue
        plain = (version.name, str(version.version)) not in aliased
        rank[version.name] += plain
        can_go = (
            plain
            and config.versions != "all"
            and rank[version.name] > config.versions
            and version.creation_timestamp < 1000 * before
            and uses[version.source] == 1  # else somebody has registered its model again
            and in_this_store(model.artifact_location)
        )
        delete = partial(_delete_version, version, model) if can_go else None
        name, size = f"{version.name} version {version.version}", size_at(model.artifact_location)
        yield Item(VERSIONS, name, size, delete)


def _model_of(version: ModelVersion) -> LoggedModel | None:
    """Return the model that a version stands for, where the store has logged it."""
    match = re.fullmatch(r"models:/(m-\w+)", version.source or "")
    with contextlib.suppress(MlflowException):  # it does not know it
        return mlflow.MlflowClient().get_logged_model(match[1]) if match else None
    return None


def _delete_version(version: ModelVersion, model: LoggedModel) -> bool:
    with store_lock(mlflow.get_tracking_uri()):  # whoever makes a champion holds it, too
        same = [one for one in versions_of(version.run_id or "") if one.source == version.source]
        if len(same) != 1 or same[0].aliases:
            return False
        discard(model, same)
    return True


def _local_checkpoints(before: float) -> Iterator[Item]:
    for folder in run_folders():
        if folder.is_of_this_store():
            delete = partial(_delete_folder, folder) if _over(folder, before) else None
            size = _size_of(_files_in(folder.path))
            yield Item(CHECKPOINTS, f"checkpoint of run {folder.run_id}", size, delete)


def _over(folder: RunFolder, before: float) -> bool:
    """Tell whether a run has ended by then, and nothing of it waits."""
    waiting = folder.outbox.is_dir() and any(folder.outbox.iterdir())
    run = None if waiting or folder.is_locked() else find_run(folder.run_id)
    return run is not None and _ended(run, before)


def _ended(run: MlflowRun, before: float) -> bool:
    ended = run.info.end_time
    return bool(run.info.status != "RUNNING" and ended and ended < 1000 * before)


def _delete_folder(folder: RunFolder) -> bool:
    with contextlib.suppress(BusyError), folder.lock():
        folder.remove()
    return not folder.path.exists()


def _uploaded_checkpoints(before: float) -> Iterator[Item]:
    for run in find_runs("attributes.status != 'RUNNING'"):
        trained = SETTINGS in read(run.data.tags)
        address, name = run.info.artifact_uri, f"uploaded checkpoint of run {run.info.run_id}"
        if trained and (size := size_at(address, UPLOADED)):
            can_go = _ended(run, before) and in_this_store(address)
            delete = partial(_delete_uploaded, address) if can_go else None
            yield Item(CHECKPOINTS, name, size, delete)


def _delete_uploaded(address: str) -> bool:
    remove_at(address, UPLOADED)
    return True


def _decoded(before: float) -> Iterator[Item]:
    """Yield the images that were decoded long ago, and those that were not."""
    folder, ages = decoded_folder(), {"lately": Files(), "long ago": Files()}
    for path, found in _files_in(folder).items():
        if _CACHED.fullmatch(path.relative_to(folder).as_posix()):
            ages["long ago" if found.st_mtime < before else "lately"][path] = found
    for age, files in ages.items():
        delete = partial(_delete_files, files) if age == "long ago" else None
        if files:
            yield Item(DECODED, f"decoded {age}", _size_of(files), delete)


def _delete_files(files: Iterable[Path]) -> bool:
    there = [path for path in files if path.exists()]
    for path in there:
        path.unlink(missing_ok=True)
    return bool(there)


def _files_in(folder: Path) -> Files:
    """Return the files in a folder, without following a link in it: that counts as a file."""
    found = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # others may be removing it
            if path.is_symlink() or path.is_file():
                found[path] = path.lstat()
    return found


def _size_of(files: Files) -> int:
    return sum(found.st_size for found in files.values())
