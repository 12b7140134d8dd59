"""Lay the real data set down, verify it, and show what a training would take of it."""

import shlex
from typing import Any

import click

from experiments.console import ProgressBar, one_line_errors
from experiments.options import config_options
from segmentation.config.training import Config


@click.command(context_settings={"show_default": True})
@click.option(
    "--data",
    default="download",
    help="'download' (Oxford-IIIT Pet, into the user's cache folder), 'synthetic' (the drawn "
    "sample), or a folder in that layout, to verify what is there.",
)
@config_options("train_images", "val_images", "split_seed", "border")
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
    from segmentation.data.oxford_pets import read_list
    from segmentation.data.prepare.export import require_new, write_splits
    from segmentation.data.prepare.verification import verify
    from segmentation.data.sources import prepared_dataset, resolve_source
    from segmentation.data.splits import split
    from segmentation.errors import DataError
    from segmentation.tracking.commands import view_run
    from segmentation.tracking.store import connect
    from segmentation.tracking.summaries.prepared import log_report
    from segmentation.utils.paths import user_path

    target = user_path(output, "output")
    if output:
        require_new(target)
    store = connect()
    source = prepared_dataset() if data == "download" else resolve_source(data)
    if source is None:
        from segmentation.data.prepare.download import download

        download()
        source = resolve_source("auto")
    click.echo(source.summary)
    report = verify(source.root, ProgressBar("Verifying"))
    for line in report.lines():
        click.echo(line)
    run_id = log_report(report)
    if output:
        chosen = split(read_list(source.root, "trainval"), config.data)
        splits = {"train": chosen.train, "val": chosen.val, "gate": chosen.gate}
        left_out = write_splits(splits, config.data.border, target)
        missing = f", without {len(left_out)} that cannot be used" if left_out else ""
        click.echo(f"Wrote the images and masks of train, val and gate to {target}{missing}")
    click.echo(f"Look:  {view_run(store, run_id)}")
    if report.problems:
        raise DataError(
            f"{len(report.problems)} of the listed examples cannot be used (listed above); train "
            "with bad_examples=skip, or mend them"
        )
    where = "" if data == "download" else f" -P data={shlex.quote(data)}"
    click.echo(f"Next:  mlflow run . -e train --env-manager local{where}")


if __name__ == "__main__":
    main()
