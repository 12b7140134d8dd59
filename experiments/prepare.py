"""Lay the real data set down, verify it, and show what a training would take of it."""

from typing import Any

import click

from experiments.console import ProgressBar, one_line_errors
from experiments.options import config_options, entry_point
from segmentation.config.training import OF_PREPARE, Config


@entry_point
@click.option(
    "--data",
    default="download",
    help="'download' (Oxford-IIIT Pet, into the user's cache folder), 'synthetic' (the drawn "
    "sample), or a folder in that layout or with images/ and masks/, to verify what is there.",
)
@config_options(*OF_PREPARE)
@click.option(
    "--output",
    default="",
    help="New folder for the chosen train, val and gate images and their binary masks; empty: "
    "write none.",
)
@one_line_errors
def main(data: str, output: str, **options: Any) -> None:
    """Download and verify the data set; log a report of it."""
    config = Config.from_options(options)
    # What follows takes seconds to import; --help and wrong parameters need none of it.
    from segmentation.workflows.prepare import prepare

    prepare(data, output, config.data, ProgressBar("Verifying"))


if __name__ == "__main__":
    main()
