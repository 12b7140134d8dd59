"""Compare a registered version with the champion of its name."""

from typing import Any

import click

from experiments.console import ProgressBar, one_line_errors
from experiments.options import config_options, entry_point
from segmentation.config.training import OWN_DATA, Config


@entry_point
@click.option(
    "--model",
    default="",
    help="The challenger, such as models:/pet-unet@challenger or models:/pet-unet/3; empty: "
    "@challenger of the name that models of this data have by default.",
)
@config_options("data", "border", *OWN_DATA, "device")
@click.option(
    "--force",
    type=click.BOOL,
    default=False,
    help="Promote it even if it is not shown to be better; never one that is not above the trivial "
    "baselines.",
)
@one_line_errors
def main(model: str, force: bool, **options: Any) -> None:
    """Compare a version with the champion on the gate images; promote it if it is better."""
    config = Config.from_options(options)
    # This takes seconds to import; --help and wrong parameters do without.
    from segmentation.workflows.promote import promote_model

    promote_model(model, config, force=force, progress=ProgressBar("Judging"))


if __name__ == "__main__":
    main()
