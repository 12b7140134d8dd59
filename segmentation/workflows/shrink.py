"""What store and cache keep that nobody needs: shown, and deleted where that is asked for."""

import dataclasses
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from segmentation.config.shrink import ShrinkConfig
from segmentation.tracking import commands
from segmentation.tracking.addresses import mask_password
from segmentation.tracking.project_run import open_store
from segmentation.tracking.retention import CHECKPOINTS, DECODED, VERSIONS, Item, find_items
from segmentation.tracking.runs.run import tracked_run
from segmentation.tracking.store import require_experiment
from segmentation.utils.concurrency import Progress
from segmentation.utils.paths import cache_folder

_log = logging.getLogger(__name__)

_NOTES = {
    VERSIONS: "the newest {versions} of each model stay, also those with an alias or of a search",
    CHECKPOINTS: "while a training runs, or has not sent all to the store, its own stay",
    DECODED: "decoded again when needed",
}


def shrink(config: ShrinkConfig, typed: Mapping[str, Any], progress: Progress) -> None:
    """Count what is kept and, if asked, delete what can go, in a run of its own."""
    _log.info("Store: %s  cache: %s", mask_password(open_store(writes=False)), cache_folder())
    require_experiment()
    with tracked_run("shrink", {}) as run:
        run.log_settings(dataclasses.asdict(config))
        items = find_items(config, time.time())
        can_go = [item for item in items if item.delete]
        lines = _table(items, config)
        for line in lines:
            _log.info(line)
        deleted: list[Item] = []
        try:
            for done, item in enumerate(can_go if config.delete else (), 1):
                if item.delete and item.delete():
                    deleted.append(item)
                progress(done, len(can_go))
        finally:  # what was deleted is on record, however this ends
            sizes = {"there_mib": items, "can_go_mib": can_go, "deleted_mib": deleted}
            metrics = {f"shrink/{name}": _mib(some) for name, some in sizes.items()}
            run.log_metrics({**metrics, "shrink/deleted": len(deleted)})
            names = "".join(f"- {item.name}\n" for item in deleted)[:3000] or "nothing\n"
            table = "\n".join(lines)
            run.describe(f"What was there:\n\n```\n{table}\n```\n\nWhat was deleted:\n\n{names}")
    left = [item for item in can_go if item not in deleted]
    _log.info(_verdict(deleted, left))
    _log.info("Look:  %s", commands.view_run(run.id))
    if left:
        _log.info("Next:  %s", commands.mlflow_run("shrink", {**typed, "delete": "true"}))


def _verdict(deleted: Sequence[Item], left: Sequence[Item]) -> str:
    """Say in a sentence what was deleted, and what can go and is there still."""
    if deleted:
        return f"Deleted {len(deleted)} of {len(deleted) + len(left)}, {_mib(deleted):.1f} MiB"
    if left:
        return f"Nothing was deleted; {len(left)} can go, {_mib(left):.1f} MiB"
    return "Nothing is left that can go"


def _table(items: Sequence[Item], config: ShrinkConfig) -> list[str]:
    lines = [f"{'':<14}   there       MiB  can go       MiB"]
    for kind, note in _NOTES.items():
        there = [item for item in items if item.kind == kind]
        can_go = [item for item in there if item.delete]
        lines.append(
            f"{kind:<14}  {len(there):>6} {_mib(there):>9.1f}  {len(can_go):>6} "
            f"{_mib(can_go):>9.1f}  {note.format(versions=config.versions)}"
        )
    return [*lines, f"What is younger than {config.older}, or not of this store alone, stays"]


def _mib(items: Iterable[Item]) -> float:
    return sum(item.size for item in items) / 2**20
