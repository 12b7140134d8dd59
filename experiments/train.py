"""Train a U-Net, track the run in MLflow, register the model."""

from typing import Any

import click

from experiments.console import ConsoleObserver, ProgressBar, one_line_errors
from experiments.options import config_options
from segmentation.config import Config, require_model_name


@click.command(context_settings={"show_default": True})
@config_options()
@click.option(
    "--model-name",
    default="",
    help="Registered model to add a version to; empty: pet-unet, or pet-unet-synthetic on drawn "
    "data.",
)
@one_line_errors
def main(model_name: str, **options: Any) -> None:
    """Train a U-Net that tells pet from background."""
    config = Config.from_options(options)
    require_model_name(model_name)
    # What follows takes seconds to import; --help and wrong parameters need none of it.
    from segmentation.devices import choose_compute
    from segmentation.sources import find_source

    compute = choose_compute(config.training)
    source = find_source(config.data.source)
    click.echo(source.line)

    from segmentation.pipeline import Setup, load_data, train_and_register
    from segmentation.tracking.store import connect, how_to_look

    store = connect()
    data = load_data(config.data, source, ProgressBar("Reading images"))
    for name, part in data.items():
        for problem in part.problems:
            click.echo(f"Left out of {name}: {problem}")
    sizes = ", ".join(f"{len(part)} {name}" for name, part in reversed(data.items()))
    click.echo(f"Training on {compute.device.type}, {compute.amp}: {sizes} images")
    setup = Setup.of(compute, source, data, model_name)
    outcome = train_and_register(config, setup, [ConsoleObserver()])
    aliases = " and ".join(f"@{alias}" for alias in outcome.aliases) or "a version"
    warning = "" if outcome.evaluation.above_floors() else " - NOT above that, so not @champion"
    click.echo(f"Score: {outcome.story.score()}; {outcome.story.floor()}{warning}")
    click.echo(f"Look:  {how_to_look(store, outcome.run_id)}")
    click.echo(
        f'Load:  mlflow.pytorch.load_model("{outcome.registered.uri}")  ({aliases} of '
        f"{outcome.registered.name})"
    )


if __name__ == "__main__":
    main()
