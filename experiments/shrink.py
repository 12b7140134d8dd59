"""Say what the store and the cache keep, and delete what nobody needs."""

from typing import Any

from experiments.options import entry_point
from segmentation.config.fields import from_options
from segmentation.config.shrink import ShrinkConfig
from segmentation.utils.concurrency import ProgressBar


@entry_point("shrink")
def main(given: dict[str, Any]) -> None:
    """Say what is kept and what of it can go; with delete=true, delete that."""
    config = from_options(ShrinkConfig, given)
    from segmentation.workflows.shrink import shrink

    shrink(config, given, ProgressBar("Deleting"))


if __name__ == "__main__":
    main()
