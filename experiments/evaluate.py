"""Score a registered model on a split, in every way, as a run with a report."""

from typing import Any

import click

from experiments.console import ProgressBar, one_line_errors
from experiments.options import config_options, pickle_option
from segmentation.config.training import Config


@click.command(context_settings={"show_default": True})
@click.option(
    "--model",
    default="",
    help="The model's address, such as models:/pet-unet@champion, models:/pet-unet/3 or a folder; "
    "empty: @champion of pet-unet, or of pet-unet-synthetic on drawn data.",
)
@click.option(
    "--split",
    type=click.Choice(["test", "gate", "val", "train"]),
    default="test",
    help="Which images: the official test list, the fixed gate fifth of trainval, or those that "
    "validated or trained this very model.",
)
@config_options("data", "border", "bad_examples", "device")
@pickle_option
@one_line_errors
def main(model: str, split: str, allow_pickle: bool, **options: Any) -> None:
    """Evaluate a model on a split of a data set."""
    config = Config.from_options(options)
    # What follows takes seconds to import; --help and wrong parameters need none of it.
    from segmentation.data.sources import resolve_source
    from segmentation.runtime.device import choose_compute

    compute = choose_compute(config.training)
    source = resolve_source(config.data.source)
    click.echo(source.summary)

    from segmentation.evaluation.report.report import console_lines, report_figures
    from segmentation.tracking.commands import view_run
    from segmentation.tracking.registry.loading import default_model, load
    from segmentation.tracking.store import connect
    from segmentation.workflows.evaluate import evaluate_model

    store = connect()
    uri = model or default_model("champion", source)
    loaded = load(uri, compute.device, allow_pickle=allow_pickle)
    click.echo(f"Model: {loaded.label}, on {loaded.model.device.type}")
    done = evaluate_model(loaded, source, split, config.data, ProgressBar("Judging"))
    for problem in done.analysis.problems:
        click.echo(f"Left out: {problem}")
    for line in console_lines(report_figures(done.analysis, done.context)):
        click.echo(line)
    click.echo(f"Look:  {view_run(store, done.run_id)}")
    click.echo(f"Mail:  {split}/report.html among that run's artifacts: one file, all within")


if __name__ == "__main__":
    main()
