"""Measure what the platform costs on this machine, tracked in MLflow."""

from typing import Any

from experiments.options import entry_point
from segmentation.config.benchmark import BenchmarkConfig
from segmentation.config.commands import with_config


@entry_point("benchmark")
def main(given: dict[str, Any]) -> None:
    """Measure speed; each suite is a run with its figures and a table.

    \b
    step    images/s over width, size and precision, as a share of matrix products
    loop    training steps against bare ones
    """  # noqa: D301 - \b keeps click from filling the lines that follow
    own, config = with_config(BenchmarkConfig, given)
    own.check(config)
    from segmentation.workflows.benchmark import run

    run(own, config)


if __name__ == "__main__":
    main()
