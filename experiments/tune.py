"""Search width, learning rate and more; confirm the finalists; register the winner."""

from typing import Any

import segmentation
from experiments.options import entry_point


@entry_point("tune")
def main(given: dict[str, Any]) -> None:
    """Search for better settings with Optuna; every trial is a run of its own.

    Parameters of the network and of its training take a VALUE, a RANGE to search (lr=3e-4..3e-2,
    width=8..32:8 in steps of 8) or CHOICES (loss=bce,bce+dice). The same command again goes on
    with the same study.
    """
    segmentation.tune(**given)


if __name__ == "__main__":
    main()
