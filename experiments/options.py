"""Command-line options made from the settings, so that they are declared once.

An option that is not given, or is given an empty text as `mlflow run` gives it, stays empty until
the settings are built: so it is known what the user gave. The settings check all values at once.
"""

from collections.abc import Callable, Iterable
from typing import Any

import click

from experiments.console import tell_run
from segmentation.config import fields, file
from segmentation.config.fields import Setting
from segmentation.config.search import DEFAULT_SPACE, SearchConfig
from segmentation.config.training import declared, default_text, searchable
from segmentation.errors import ConfigError

Command = Callable[..., Any]


class _EntryPoint(click.Command):
    """A command that knows what its options are called elsewhere."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return self._parse(ctx, args)
        except click.UsageError as error:
            tell_run(error.format_message())
            raise

    def _parse(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            ours = file.ELSEWHERE.get(error.option_name.lstrip("-").replace("-", "_"))
            if ours not in [param.name for param in self.params]:
                raise
            text = f"No such option '{error.option_name}'. Did you mean '--{ours}'?"
            raise click.NoSuchOption(error.option_name, text.replace("_", "-"), ctx=ctx) from error


def entry_point(function: Command) -> click.Command:
    """Make a command of a function and its options; their names may have hyphens or underscores."""
    settings = {
        "show_default": True,
        "token_normalize_func": lambda name: name.replace("_", "-"),
    }
    return click.command(cls=_EntryPoint, context_settings=settings)(_config_option(function))


def _read_config(context: click.Context, _: click.Parameter, value: str) -> None:
    """Let the settings of a file be the defaults: what is typed wins."""
    if not value:
        return
    known = [str(one.name) for one in context.command.params if one.name != "config"]
    try:
        context.default_map = file.read(value, known)
    except ConfigError as error:
        raise click.UsageError(str(error), context) from error


_config_option = click.option(
    "--config",
    default="",
    is_eager=True,
    expose_value=False,
    callback=_read_config,
    help="A file of parameters by their names, YAML or TOML, such as a run's config.yaml; what you "
    "give besides wins.",
)


def config_options(*names: str) -> Callable[[Command], Command]:
    """Add an option for each of the settings `names` of a training, or for all of them."""
    return _adding(one for one in declared() if not names or one.option in names)


#: The option by which a user trusts what a model brings.
pickle_option = click.option(
    "--allow-pickle",
    type=click.BOOL,
    default=False,
    help="Take a model that must be unpickled or brings code of its own: either runs whatever "
    "code it holds.",
)
#: The option that names the registered model.
model_name_option = click.option(
    "--model-name",
    default="",
    help="Registered model to add versions to; empty: pet-unet, pet-unet-synthetic on drawn data, "
    "or FOLDER-unet on the own images of a FOLDER.",
)


def own_options(group: Any) -> Callable[[Command], Command]:
    """Add the options that an entry point has for itself, such as those of `ShrinkConfig`."""
    return _adding(fields.declared(group))


def search_options(command: Command) -> Command:
    """Add the options of a search: those of a training, some of them as ranges, and its own."""
    ranges = list(searchable())
    others = [one for one in declared() if one not in ranges]
    command = _adding([*others, *fields.declared(SearchConfig)])(command)
    return _adding(ranges, "VALUE|RANGE|CHOICES", DEFAULT_SPACE)(command)


def given(context: click.Context) -> dict[str, Any]:
    """Return the parameters that the user gave, by name."""
    return {name: value for name, value in context.params.items() if value not in ("", None)}


def _adding(
    settings: Iterable[Setting], metavar: str = "", defaults: dict[str, str] | None = None
) -> Callable[[Command], Command]:
    options = list(settings)

    def add(command: Command) -> Command:
        for one in reversed(options):  # decorators apply from the last to the first
            default = (defaults or {}).get(one.option) or default_text(one)
            command = click.option(
                f"--{one.option.replace('_', '-')}",
                one.option,
                default="",
                show_default=False,
                metavar=metavar
                or "|".join(one.choices)
                or click.types.convert_type(one.kind).name.upper(),
                help=f"{one.text}  [default: {default}]",
            )(command)
        return command

    return add
