"""Lay the real data set down, verify it, and show what a training would take of it."""

from typing import Any

import segmentation
from experiments.options import entry_point


@entry_point("prepare")
def main(given: dict[str, Any]) -> None:
    """Download and verify the data set; log a report of it."""
    segmentation.prepare(**given)


if __name__ == "__main__":
    main()
