"""Score a registered model on a split, in every way, as a run with a report."""

from typing import Any

import segmentation
from experiments.options import entry_point


@entry_point("evaluate")
def main(given: dict[str, Any]) -> None:
    """Evaluate a model on a split of a data set."""
    segmentation.evaluate(**given)


if __name__ == "__main__":
    main()
