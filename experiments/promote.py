"""Let a version contend with the champion of its name."""

import re
from typing import Any

import click

from experiments.console import ProgressBar, one_line_errors
from experiments.options import config_options
from segmentation.config.training import Config
from segmentation.errors import ConfigError


@click.command(context_settings={"show_default": True})
@click.option(
    "--model",
    default="",
    help="The challenger, such as models:/pet-unet@challenger or models:/pet-unet/3; empty: "
    "@challenger of pet-unet, or of pet-unet-synthetic on drawn data.",
)
@config_options("data", "border", "device")
@click.option(
    "--force",
    type=click.BOOL,
    default=False,
    help="Promote it even if it is not shown to be better; never one at or below the floors.",
)
@one_line_errors
def main(model: str, force: bool, **options: Any) -> None:
    """Compare a version with the champion on the gate images; promote it if it is better."""
    config = Config.from_options(options)
    if model and not re.fullmatch(r"models:/[^/@]+(/\d+|@[^/@]+)", model):
        raise ConfigError(
            f"model={model}: expected a registered version, such as models:/pet-unet/3 or "
            "models:/pet-unet@challenger"
        )
    # What follows takes seconds to import; --help and wrong parameters need none of it.
    from segmentation.data.sources import resolve_source
    from segmentation.runtime.device import choose_compute

    compute = choose_compute(config.training)
    source = resolve_source(config.data.source)
    click.echo(source.summary)

    from segmentation.tracking.commands import view_run
    from segmentation.tracking.registry.loading import default_model, load
    from segmentation.tracking.registry.versions import VersionRef
    from segmentation.tracking.runs.run import tracked_run
    from segmentation.tracking.store import connect
    from segmentation.workflows.promote import GateEvaluator, promote

    store = connect()
    loaded = load(model or default_model("challenger", source), compute.device)
    challenger = VersionRef(name=loaded.name, version=loaded.version)
    arena = GateEvaluator(source, config.data.border, ProgressBar("Judging"), compute.device)
    tags = {"data.source": source.name, "model": loaded.label}
    with tracked_run(f"promote {loaded.label}", tags, system_metrics=False) as run:
        decision = promote(challenger, arena, loaded.model, run=run, force=force)
    for problem in arena.problems:
        click.echo(f"Left out: {problem}")
    click.echo(decision.reason)
    click.echo(f"Look:  {view_run(store, run.id)}")


if __name__ == "__main__":
    main()
