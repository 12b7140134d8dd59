"""Measure what the platform costs and what it is worth on this machine, tracked in MLflow."""

from typing import Any

import click

from experiments.console import one_line_errors
from experiments.options import benchmark_options, config_options
from segmentation.benchmark.asked import BenchmarkConfig, BenchmarkRequest
from segmentation.config.fields import from_options


@click.command(context_settings={"show_default": True})
@benchmark_options
@config_options("data", "train_images", "val_images", "image_size", "bad_examples", "device")
@one_line_errors
def main(**options: Any) -> None:
    """Measure speed, quality by the clock, scale and waiting times.

    Each suite is a run with its figures, a table and a chart:

    \b
    step    images/s over width, size and precision, as a share of matrix products
    loop    training steps against bare ones; what data, validation and MLflow take
    peers   Dice by the clock against other networks and ways to train
    scale   time and memory of an epoch over the number of images
    tuning  trials an hour over workers
    start   seconds to the help, to the first step, to the prompt
    """  # noqa: D301 - \b keeps click from filling the lines that follow
    own = from_options(BenchmarkConfig, options)
    asked = BenchmarkRequest.of(own, options)
    # What follows takes seconds to import; --help and wrong parameters need none of it.
    from segmentation.benchmark.machine import Machine
    from segmentation.data.sources import resolve_source
    from segmentation.runtime.device import choose_compute

    compute = choose_compute(asked.config.training)
    source = resolve_source(asked.config.data.source)
    machine = Machine.of(compute.device)
    click.echo(source.summary)
    click.echo(f"{machine.line()}, {compute.amp}")

    from segmentation.benchmark.suites import run
    from segmentation.tracking.commands import view_run
    from segmentation.tracking.store import connect

    store = connect()
    outcome = run(asked, compute, source, machine, click.echo)
    for line in outcome.lines:
        click.echo(f"Found: {line}")
    click.echo(f"Look:  {view_run(store, outcome.run_id)}")


if __name__ == "__main__":
    main()
