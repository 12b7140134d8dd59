"""Find what a crash, a kill or an outage has left; deliver it, end it, say how to go on."""

import click

from experiments.console import one_line_errors
from experiments.options import entry_point
from segmentation.config.search import SearchConfig
from segmentation.errors import ConfigError


@entry_point
@click.option(
    "--end",
    type=click.BOOL,
    default=True,
    help="End runs and trials whose process is gone, and deliver what waits; false: only say so.",
)
@click.option(
    "--storage", default="file", help="Of studies: 'file', or an address postgresql://..."
)
@click.option(
    "--study", default="", help="With a storage that machines share: the name of the study."
)
@one_line_errors
def main(end: bool, storage: str, study: str) -> None:
    """Recover from crashes: nothing that lives is touched.

    Looks at the tracking store, at studies, and at what trainings have left on this machine.
    """
    if storage != "file" and not study:
        raise ConfigError(f"storage={storage}: give `study`, too: the name of the study there")
    SearchConfig(storage=storage, study=study or "auto")  # what is wrong is said at once
    # What follows takes seconds to import; --help and wrong parameters need none of it.
    from segmentation.workflows.recover import recover

    recover(storage, study, act=end)


if __name__ == "__main__":
    main()
