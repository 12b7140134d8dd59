"""Train a U-Net, track the run in MLflow, register the model."""

from typing import Any

import click

from experiments.options import entry_point
from segmentation.config.commands import TrainOptions, requested
from segmentation.config.fields import from_options
from segmentation.runtime.sharding import FULL, shard_from_env
from segmentation.training.callbacks import ProgressCallback
from segmentation.utils.concurrency import ProgressBar


@entry_point("train")
def main(given: dict[str, Any]) -> None:
    """Train a U-Net that tells foreground, such as pets, from background."""
    options, asked = requested(given)
    processes = from_options(TrainOptions, given).processes
    from segmentation.workflows.train import start_processes, train

    if processes > 1 and shard_from_env() == FULL:
        words = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
        raise click.exceptions.Exit(start_processes(options, asked, processes, words))
    epochs = ProgressCallback(ProgressBar("Epoch"))
    train(options, asked, [epochs], ProgressBar("Reading images"))


if __name__ == "__main__":
    main()
