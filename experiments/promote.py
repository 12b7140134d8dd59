"""Compare a registered version with the champion of its name."""

from typing import Any

from experiments.options import entry_point
from segmentation.config.commands import PromoteOptions, with_config
from segmentation.utils.concurrency import ProgressBar


@entry_point("promote")
def main(given: dict[str, Any]) -> None:
    """Compare a version with the champion on the gate images; promote it if it is better."""
    own, config = with_config(PromoteOptions, given)
    from segmentation.workflows.promote import promote_model

    promote_model(own.model, config, force=own.force, progress=ProgressBar("Judging"))


if __name__ == "__main__":
    main()
