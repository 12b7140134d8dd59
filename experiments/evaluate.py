"""Score a registered model on a split, in every way, as a run with a report."""

from typing import Any

import click

from experiments.console import ProgressBar, one_line_errors
from experiments.options import config_options, entry_point, pickle_option
from segmentation.config.training import OF_EVALUATE, Config


@entry_point
@click.option(
    "--model",
    default="",
    help="The model's address, such as models:/pet-unet@champion, models:/pet-unet/3 or a folder; "
    "empty: @champion of the name that models of this data have by default.",
)
@click.option(
    "--split",
    type=click.Choice(["test", "gate", "val", "train"]),
    default="test",
    help="Which images: the official test list, the fixed gate fifth of trainval, or those that "
    "validated or trained this very model.",
)
@config_options(*OF_EVALUATE)
@pickle_option
@one_line_errors
def main(model: str, split: str, allow_pickle: bool, **options: Any) -> None:
    """Evaluate a model on a split of a data set."""
    config = Config.from_options(options)
    # This takes seconds to import; --help and wrong parameters do without.
    from segmentation.workflows.evaluate import evaluate_model

    progress = ProgressBar("Judging")
    evaluate_model(model, split, config, allow_pickle=allow_pickle, progress=progress)


if __name__ == "__main__":
    main()
