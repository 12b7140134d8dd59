"""Train a U-Net, track the run in MLflow, register the model."""

from typing import Any

import click

from experiments.console import ProgressBar, one_line_errors
from experiments.options import config_options, entry_point, given, model_name_option
from segmentation.config.training import requested
from segmentation.runtime.sharding import FULL, shard_from_env
from segmentation.training.callbacks import ProgressCallback


@entry_point
@config_options()
@model_name_option
@click.option(
    "--budget",
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
def main(context: click.Context, processes: int, **_: Any) -> None:
    """Train a U-Net that tells foreground, such as pets, from background."""
    typed = {name: one for name, one in given(context).items() if name != "processes"}
    options, asked = requested(typed)
    # What follows takes seconds to import; --help and wrong parameters need none of it.
    from segmentation.workflows.train import start_processes, train

    if processes > 1 and shard_from_env() == FULL:
        words = [f"--{name.replace('_', '-')}={value}" for name, value in typed.items()]
        context.exit(start_processes(options, asked, processes, words))
    epochs = ProgressCallback(ProgressBar("Epoch"))
    train(options, asked, [epochs], ProgressBar("Reading images"))


if __name__ == "__main__":
    main()
