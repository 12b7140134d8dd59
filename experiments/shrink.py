"""Say what the store and the cache keep, and delete what nobody needs."""

from typing import Any

import click

from experiments.console import ProgressBar, one_line_errors
from experiments.options import differing, own_options
from segmentation.config.fields import from_options
from segmentation.config.shrink import ShrinkConfig


@click.command(context_settings={"show_default": True})
@own_options(ShrinkConfig)
@click.pass_context
@one_line_errors
def main(context: click.Context, **options: Any) -> None:
    """Say what is kept and what of it can go; with delete=true, delete that."""
    config = from_options(ShrinkConfig, options)
    # What follows takes seconds to import; --help and wrong parameters need none of it.
    from segmentation.tracking import commands
    from segmentation.tracking.store import connect, mask_password
    from segmentation.utils.paths import cache_folder
    from segmentation.workflows.shrink import shrink

    store = connect()
    click.echo(f"Store: {mask_password(store)}  cache: {cache_folder()}")
    done = shrink(config, ProgressBar("Deleting"))
    click.echo(done.verdict())
    click.echo(f"Look:  {commands.view_run(store, done.run_id)}")
    if done.left:
        click.echo(
            f"Next:  {commands.mlflow_run('shrink', {**differing(context), 'delete': 'true'})}"
        )
    click.echo(f"Runs that were deleted in MLflow go with: {commands.collect_garbage(store)}")


if __name__ == "__main__":
    main()
