"""Train a U-Net, track the run in MLflow, register the model."""

import sys
from typing import Any

import click

from experiments.console import ConsoleCallback, ProgressBar, one_line_errors
from experiments.options import config_options, duration, entry_point, given, model_name_option
from segmentation.config.training import Config, encoder_of, require_model_name, typed
from segmentation.runtime.sharding import FULL, shard_from_env


@entry_point
@config_options()
@model_name_option
@click.option(
    "--budget",
    callback=duration,
    metavar="DURATION",
    default="",
    help="Time for training, such as 90s, 5m or 1.5h: as many epochs as fit into it, whatever "
    "'epochs' says; 0: as many as 'epochs' says.",
)
@click.option(
    "--like",
    default="",
    help="Id of the run of an earlier training to repeat: parameters that you do not give are "
    "its; empty: none.",
)
@click.option(
    "--resume",
    default="",
    help="Id of the run of a training that was stopped or killed, to go on with it in that run: "
    "all parameters are its own; empty: none.",
)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    help="Processes of this machine that train together, each with its share of every batch and, "
    "where there are GPUs, one of its own.",
)
@click.pass_context
@one_line_errors
def main(context: click.Context, processes: int, **options: Any) -> None:
    """Train a U-Net that tells foreground, such as pets, from background."""
    if not options["like"] and not options["resume"]:
        options |= encoder_of(given(context))
        Config.from_options(options)  # what is wrong is said at once
    require_model_name(options["model_name"])
    options["budget"] = options["budget"] or 0.0
    # What follows takes seconds to import; --help and wrong parameters need none of it.
    from segmentation.workflows.train import start_processes, train

    asked = typed(given(context))
    if processes > 1 and shard_from_env() == FULL:
        context.exit(start_processes(options, asked, processes, sys.argv[1:]))
    train(options, asked, [ConsoleCallback()], ProgressBar("Reading images"))


if __name__ == "__main__":
    main()
