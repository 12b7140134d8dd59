"""Search width, learning rate and more; confirm the finalists; register the winner."""

from typing import Any

import click

from experiments.console import ProgressBar, one_line_errors
from experiments.options import entry_point, given, model_name_option, search_options


@entry_point
@search_options
@model_name_option
@click.pass_context
@one_line_errors
def main(context: click.Context, model_name: str, **_: Any) -> None:
    """Search for better settings with Optuna; every trial is a run of its own.

    Parameters of the network and of its training take a VALUE, a RANGE to search (lr=3e-4..3e-2,
    width=8..32:8 in steps of 8) or CHOICES (loss=bce,bce+dice). The same command again goes on
    with the same study.
    """
    # What follows takes up to seconds to import; --help needs none of it.
    from segmentation.tuning.space import requested

    config, space, settings = requested(given(context))
    from segmentation.workflows.tune.search import search

    progress = ProgressBar("Reading images")
    search(config, space, settings, model_name, given(context), progress)


if __name__ == "__main__":
    main()
