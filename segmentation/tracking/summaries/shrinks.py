"""A look at what the store keeps, and what was deleted, as an MLflow run."""

from collections.abc import Mapping, Sequence

from segmentation.tracking.logging.run_logger import RunLogger
from segmentation.utils.inventory import Category, Item, markdown, mib


def log_shrink(
    run: RunLogger, kinds: Sequence[Category], gone: Mapping[str, Sequence[Item]]
) -> None:
    """Log what was there, and the name of everything that was deleted, into a run.

    Args:
        run: of `shrink`.
        kinds: as they were before.
        gone: what was deleted, by kind.
    """
    deleted = [thing for things in gone.values() for thing in things]
    run.log_metrics(
        {
            "shrink/there_mib": sum(mib(kind.things) for kind in kinds),
            "shrink/can_go_mib": sum(mib(kind.spare) for kind in kinds),
            "shrink/deleted": len(deleted),
            "shrink/deleted_mib": mib(deleted),
        }
    )
    names = "".join(f"- {thing.name}\n" for thing in deleted)[:3000]
    run.describe(
        f"What was kept:\n\n{markdown(kinds)[:4000]}\n"
        + (f"Deleted, {mib(deleted):.1f} MiB:\n\n{names}" if deleted else "Nothing was deleted.\n")
    )
