"""Write a mask for each of a person's photos."""

from typing import Any

from experiments.options import entry_point
from segmentation.config.commands import PredictOptions, with_config
from segmentation.errors import DataError
from segmentation.utils.concurrency import ProgressBar


@entry_point("predict")
def main(given: dict[str, Any]) -> None:
    """Tell foreground from background in photos: a PNG of 0 and 255 for each, at its own size."""
    own, config = with_config(PredictOptions, given)
    from segmentation.workflows.predict import predict

    done, bad = predict(own, config, ProgressBar("Predicting"))
    if bad:
        raise DataError(
            f"{len(bad)} of {len(done) + len(bad)} photos could not be used (listed above); the "
            "others are done"
        )


if __name__ == "__main__":
    main()
