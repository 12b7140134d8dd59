"""What store and cache keep, counted, and freed where that is asked for."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from segmentation.config.shrink import ShrinkConfig
from segmentation.tracking.inventory.local_files import cache_kinds
from segmentation.tracking.inventory.models import model_kinds
from segmentation.tracking.inventory.runs import checkpoints, deleted_runs
from segmentation.tracking.runs.run import tracked_run
from segmentation.tracking.store import store_lock
from segmentation.tracking.summaries.shrinks import log_shrink
from segmentation.utils.inventory import Item, free, mib, table


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShrinkResult:
    """What was found and done.

    Attributes:
        run_id: MLflow's, of the run that tells of it.
        gone: what was deleted, by kind.
        left: what can go and is there still.
        deleted_runs: how many were deleted in MLflow, which keeps them until they are collected.
    """

    run_id: str
    gone: Mapping[str, Sequence[Item]]
    left: Sequence[Item]
    deleted_runs: int

    def verdict(self) -> str:
        """Say in a sentence how it went."""
        if self.gone:
            parts = [f"{kind} ({len(things)})" for kind, things in self.gone.items()]
            size = mib(thing for things in self.gone.values() for thing in things)
            stayed = f"; {len(self.left)} stayed, in use by now" if self.left else ""
            return f"Deleted {size:.1f} MiB: {', '.join(parts)}{stayed}"
        if self.left:
            return f"Nothing was deleted; {len(self.left)} can go, {mib(self.left):.1f} MiB"
        return "Nothing is left that can go"


def shrink(
    asked: ShrinkConfig, say: Callable[[str], None], progress: Callable[[int, int], None]
) -> ShrinkResult:
    """Count what is kept and, if asked, delete what can go, in a run of its own.

    Args:
        asked: what can go, and whether it is to.
        say: told the table, line by line.
        progress: told how many of how many things were deleted.
    """
    with tracked_run("shrink", {}, system_metrics=False) as run:
        deleted = deleted_runs()
        kinds = [*model_kinds(asked), checkpoints(asked), *cache_kinds(asked), deleted]
        for line in table(kinds):
            say(line)
        gone: dict[str, list[Item]] = {}
        try:
            if asked.delete:
                with store_lock(
                    "shrink"
                ):  # one at a time: what two delete at once both would count
                    free(kinds, gone, progress)
        finally:  # what was deleted is on record, however this ends
            log_shrink(run, kinds, gone)
    went = {id(thing) for things in gone.values() for thing in things}
    spare = [thing for kind in kinds for thing in kind.spare]
    left = [thing for thing in spare if id(thing) not in went]
    return ShrinkResult(run_id=run.id, gone=gone, left=left, deleted_runs=len(deleted.things))
