"""Search width, learning rate and more; confirm the finalists; register the winner."""

import time
from typing import Any

import click

from experiments.console import ProgressBar, one_line_errors
from experiments.options import differing, search_options
from segmentation.config.fields import from_options
from segmentation.config.search import SearchConfig
from segmentation.config.training import Config, require_model_name, searchable
from segmentation.tuning.space import check, parse

_RANGES = [one.option for one in searchable()]


@click.command(context_settings={"show_default": True})
@search_options
@click.option(
    "--model-name",
    default="",
    help="Registered model to add versions to; empty: pet-unet, or pet-unet-synthetic on drawn "
    "data.",
)
@click.pass_context
@one_line_errors
def main(context: click.Context, model_name: str, **options: Any) -> None:
    """Search for better settings with Optuna; every trial is a run of its own.

    Parameters of the network and of its training take a VALUE, a RANGE to search (lr=3e-4..3e-2,
    width=8..32:8 in steps of 8) or CHOICES (loss=bce,bce+dice). The same command again goes on
    with the same study.
    """
    asked = from_options(SearchConfig, options)
    require_model_name(model_name)
    fixed, space = parse({name: options[name] for name in _RANGES})
    plain = {name: text for name, text in options.items() if name not in _RANGES}
    settings = Config.from_options({**plain, **fixed}).options()
    check(space, settings)
    # What follows takes seconds to import; --help and wrong parameters need none of it.
    from segmentation.data.sources import resolve_source
    from segmentation.runtime.device import choose_compute

    config = Config.from_options(settings)
    compute = choose_compute(config.training)
    source = resolve_source(config.data.source)
    click.echo(source.summary)

    from segmentation.tracking.commands import view_run
    from segmentation.tracking.store import connect
    from segmentation.workflows.session import TrainingSession, load_data
    from segmentation.workflows.tune.plan import SearchPlan
    from segmentation.workflows.tune.search import search

    store = connect()
    data = load_data(
        config.data, source, ProgressBar("Reading images"), with_gate=asked.confirm > 0
    )
    for name, part in data.items():
        for problem in part.problems:
            click.echo(f"Left out of {name}: {problem}")
    searching = SearchPlan(
        asked=asked,
        space=space,
        options=settings,
        setup=TrainingSession.of(compute, source, data, model_name),
        began=time.time(),
        typed=differing(context),
    )
    try:
        outcome = search(searching, click.echo)
    except KeyboardInterrupt:
        click.echo(f"Go on: {searching.command}")
        raise
    story = outcome.story
    if story.dropped:
        click.echo(f"Deleted: the models of {story.dropped} losing trial(s), as `keep` says")
    click.echo(story.verdict())
    click.echo(outcome.decision)
    if story.command():
        click.echo(f"Again: {story.command()}")
    click.echo(f"Look:  {view_run(store, outcome.run_id)}")
    aliases = " and ".join(f"@{alias}" for alias in outcome.aliases) or "a version"
    click.echo(
        f'Load:  mlflow.pytorch.load_model("{outcome.registered.uri}")  ({aliases} of '
        f"{outcome.registered.name})"
    )


if __name__ == "__main__":
    main()
