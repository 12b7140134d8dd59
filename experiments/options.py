"""Commands made from the settings, so that each parameter is declared once.

An option that is not given, or is given an empty text as `mlflow run` gives it, stays empty until
the settings are built: so it is known what the user gave. The settings check all values at once.
"""

from collections.abc import Callable

import click

from experiments.console import Main, one_line_errors, tell_run
from segmentation.config import file
from segmentation.config.commands import parameters
from segmentation.config.fields import Setting
from segmentation.errors import ConfigError


class _EntryPoint(click.Command):
    """A command that knows what its options are called elsewhere."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as raised:
            error = raised
            if isinstance(raised, click.NoSuchOption):
                ours = file.ELSEWHERE.get(raised.option_name.lstrip("-").replace("-", "_"), "")
                if ours in [param.name for param in self.params]:
                    text = f"No such option '{raised.option_name}'. Did you mean '--{ours}'?"
                    error = click.NoSuchOption(ours, text.replace("_", "-"), ctx=ctx)
            tell_run(error.format_message())
            raise error from None


def entry_point(name: str) -> Callable[[Main], click.Command]:
    """Make a command of a function that takes what the user gives, by the parameters' names.

    Options may have hyphens or underscores. What takes seconds to import the function imports when
    it runs: --help and wrong parameters do without.
    """
    options = [
        click.Option(
            [f"--{one.option.replace('_', '-')}", one.option],
            **({"default": ""} if "default" in one.schema else {"required": True}),
            metavar=_metavar(one, name),
            help=one.help,
        )
        for one in parameters(name).values()
    ]
    return lambda function: click.command(
        cls=_EntryPoint,
        params=[CONFIG, *options],
        context_settings={"token_normalize_func": lambda name: name.replace("_", "-")},
    )(one_line_errors(function))


def _metavar(one: Setting, entry: str) -> str:
    if one.search and entry == "tune":
        return "VALUE|RANGE|CHOICES"
    choices = "|".join(one.choices) if one.kind is str else ""
    return choices or click.types.convert_type(one.kind).name.upper()


def _read_config(context: click.Context, _: click.Parameter, value: str) -> None:
    """Let the settings of a file be the defaults: what is typed wins."""
    if not value:
        return
    known = [str(one.name) for one in context.command.params if one.name != "config"]
    try:
        context.default_map = file.read(value, known)
    except ConfigError as error:
        raise click.UsageError(str(error), context) from error


#: The option of a file of settings.
CONFIG = click.Option(
    ["--config"],
    default="",
    is_eager=True,
    expose_value=False,
    callback=_read_config,
    help="A file of parameters by their names, YAML or TOML, such as a run's config.yaml; what you "
    "give besides wins.",
)
