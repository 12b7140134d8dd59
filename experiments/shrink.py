"""Say what the store and the cache keep, and delete what nobody needs."""

from typing import Any

import click

from experiments.console import ProgressBar, one_line_errors
from experiments.options import entry_point, given, own_options
from segmentation.config.fields import from_options
from segmentation.config.shrink import ShrinkConfig


@entry_point
@own_options(ShrinkConfig)
@click.pass_context
@one_line_errors
def main(context: click.Context, **options: Any) -> None:
    """Say what is kept and what of it can go; with delete=true, delete that."""
    config = from_options(ShrinkConfig, options)
    # What follows takes seconds to import; --help and wrong parameters need none of it.
    from segmentation.workflows.shrink import shrink

    shrink(config, given(context), ProgressBar("Deleting"))


if __name__ == "__main__":
    main()
