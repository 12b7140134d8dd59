"""What store and cache keep that nobody needs: shown, and deleted where that is asked for."""

import dataclasses
import logging
import time
from collections.abc import Iterable, Sequence

from segmentation.config.shrink import ShrinkConfig
from segmentation.tracking.retention import CHECKPOINTS, DECODED, VERSIONS, Item, find_items
from segmentation.tracking.runs.run import tracked_run
from segmentation.utils.concurrency import Progress

_log = logging.getLogger(__name__)

_NOTES = {
    VERSIONS: "the newest {versions} of each model stay, also those with an alias or of a search",
    CHECKPOINTS: "while a training runs, or has not sent all to the store, its own stay",
    DECODED: "decoded again when needed",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShrinkResult:
    """What was found and done.

    Attributes:
        run_id: MLflow's, of the run that tells of it.
        deleted: what was deleted.
        left: what can go and is there still.
    """

    run_id: str
    deleted: Sequence[Item]
    left: Sequence[Item]

    def verdict(self) -> str:
        """Say in a sentence how it went."""
        if self.deleted:
            kinds = {kind: _of(kind, self.deleted) for kind in _NOTES}
            parts = [f"{kind} ({len(items)})" for kind, items in kinds.items() if items]
            stayed = f"; {len(self.left)} stayed, in use by now" if self.left else ""
            return f"Deleted {_mib(self.deleted):.1f} MiB: {', '.join(parts)}{stayed}"
        if self.left:
            return f"Nothing was deleted; {len(self.left)} can go, {_mib(self.left):.1f} MiB"
        return "Nothing is left that can go"


def shrink(config: ShrinkConfig, progress: Progress) -> ShrinkResult:
    """Count what is kept and, if asked, delete what can go, in a run of its own.

    Args:
        config: what can go, and whether it is to.
        progress: told how many of how many things were dealt with.
    """
    with tracked_run("shrink", {}, system_metrics=False) as run:
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
    return ShrinkResult(run_id=run.id, deleted=deleted, left=left)


def _table(items: Sequence[Item], config: ShrinkConfig) -> list[str]:
    lines = [f"{'':<14}   there       MiB  can go       MiB"]
    for kind, note in _NOTES.items():
        there = _of(kind, items)
        can_go = [item for item in there if item.delete]
        lines.append(
            f"{kind:<14}  {len(there):>6} {_mib(there):>9.1f}  {len(can_go):>6} "
            f"{_mib(can_go):>9.1f}  {note.format(versions=config.versions)}"
        )
    return [*lines, f"What is younger than {config.older}, or not of this store alone, stays"]


def _of(kind: str, items: Iterable[Item]) -> list[Item]:
    return [item for item in items if item.kind == kind]


def _mib(items: Iterable[Item]) -> float:
    return sum(item.size for item in items) / 2**20
