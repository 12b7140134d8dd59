"""Measure what the platform costs on this machine, tracked in MLflow."""

from typing import Any

from experiments.console import one_line_errors
from experiments.options import config_options, entry_point, own_options
from segmentation.config.benchmark import BenchmarkConfig
from segmentation.config.fields import from_options
from segmentation.config.training import Config


@entry_point
@own_options(BenchmarkConfig)
@config_options(
    "data", "train_images", "val_images", "image_size", "encoder", "bad_examples", "device"
)
@one_line_errors
def main(**options: Any) -> None:
    """Measure speed; each suite is a run with its figures and a table.

    \b
    step    images/s over width, size and precision, as a share of matrix products
    loop    training steps against bare ones
    """  # noqa: D301 - \b keeps click from filling the lines that follow
    own = from_options(BenchmarkConfig, options)
    config = Config.from_options(options)
    own.check(config)
    # What follows takes seconds to import; --help and wrong parameters need none of it.
    from segmentation.workflows.benchmark import run

    run(own, config)


if __name__ == "__main__":
    main()
