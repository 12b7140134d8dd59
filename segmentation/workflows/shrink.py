"""What store and cache keep that nobody needs: shown, and deleted where that is asked for."""

import dataclasses
import logging
import time
from collections.abc import Iterable, Sequence

from segmentation.config.shrink import ShrinkConfig
from segmentation.tracking.retention import CHECKPOINTS, DECODED, VERSIONS, Item, find_items
from segmentation.tracking.runs.run import Run, tracked_run
from segmentation.utils.concurrency import Progress

_log = logging.getLogger(__name__)

_NOTES = {
    VERSIONS: "with an alias, or of a search, they stay; `tune` with `keep` drops the latter",
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


def shrink(config: ShrinkConfig, progress: Progress, now: float | None = None) -> ShrinkResult:
    """Count what is kept and, if asked, delete what can go, in a run of its own.

    Args:
        config: what can go, and whether it is to.
        progress: told how many of how many things were dealt with.
        now: seconds since 1970, by which things are young or old; None: the time that it is.
    """
    with tracked_run("shrink", {}, system_metrics=False) as run:
        items = find_items(config, now or time.time())
        can_go = [item for item in items if item.delete is not None]
        lines = _table(items)
        for line in lines:
            _log.info(line)
        deleted: list[Item] = []
        try:
            for done, item in enumerate(can_go if config.delete else (), 1):
                if item.delete is not None and item.delete():
                    deleted.append(item)
                progress(done, len(can_go))
        finally:  # what was deleted is on record, however this ends
            _record(run, items, deleted, lines)
    left = [item for item in can_go if item not in deleted]
    return ShrinkResult(run_id=run.id, deleted=deleted, left=left)


def _table(items: Sequence[Item]) -> list[str]:
    lines = [f"{'':<14}   there       MiB  can go       MiB"]
    for kind, note in _NOTES.items():
        there = _of(kind, items)
        can_go = [item for item in there if item.delete is not None]
        lines.append(
            f"{kind:<14}  {len(there):>6} {_mib(there):>9.1f}  {len(can_go):>6} "
            f"{_mib(can_go):>9.1f}  {note}"
        )
    return lines


def _record(run: Run, items: Sequence[Item], deleted: Sequence[Item], lines: list[str]) -> None:
    """Log what was there, and the name of everything that was deleted."""
    run.log_metrics(
        {
            "shrink/there_mib": _mib(items),
            "shrink/can_go_mib": _mib(item for item in items if item.delete is not None),
            "shrink/deleted": len(deleted),
            "shrink/deleted_mib": _mib(deleted),
        }
    )
    table = "\n".join(lines)
    names = "".join(f"- {item.name}\n" for item in deleted)[:3000]
    what = f"Deleted, {_mib(deleted):.1f} MiB:\n\n{names}" if deleted else "Nothing was deleted."
    run.describe(f"What was there:\n\n```\n{table}\n```\n\n{what}")


def _of(kind: str, items: Iterable[Item]) -> list[Item]:
    return [item for item in items if item.kind == kind]


def _mib(items: Iterable[Item]) -> float:
    return sum(item.size for item in items) / 2**20
