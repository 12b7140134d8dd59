"""Command-line options made from the settings, so that they are declared once."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import click

from segmentation.benchmark.asked import BenchmarkConfig
from segmentation.config.durations import seconds_of
from segmentation.config.search import DEFAULT_SPACE, SearchConfig
from segmentation.config.shrink import ShrinkConfig
from segmentation.config.training import Count, declared, option_name, searchable

Command = Callable[..., Any]
Field = dataclasses.Field[Any]


class CountType(click.ParamType):  # type: ignore[type-arg]
    """A whole number, or the word `all`."""

    name = "number|all"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Count:
        """Turn text into a number or `all`."""
        if isinstance(value, int) or value == "all":
            return value  # type: ignore[no-any-return]
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor 'all'.", param, ctx)


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A time, such as `90s`, `5m`, `1.5h` or a number of seconds; 0 or more."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Turn text into seconds."""
        if isinstance(value, float):
            return value
        seconds = seconds_of(str(value))
        if seconds is None:
            self.fail(f"{value!r} is no time; expected such as 90s, 5m or 1.5h.", param, ctx)
        return seconds


_TYPES: dict[Any, Any] = {
    Count: CountType(),
    bool: click.BOOL,
    int: click.INT,
    float: click.FLOAT,
    str: click.STRING,
}


def config_options(*names: str) -> Callable[[Command], Command]:
    """Add an option for each of the settings `names` of a training, or for all of them."""
    return _adding(field for field in declared() if not names or option_name(field) in names)


def pickle_option(command: Command) -> Command:
    """Add the option by which a user trusts what a model brings."""
    return click.option(
        "--allow-pickle",
        type=click.BOOL,
        default=False,
        help="Take a model that must be unpickled or brings code of its own: either runs whatever "
        "code it holds.",
    )(command)


def benchmark_options(command: Command) -> Command:
    """Add the options that a benchmark has besides data and device."""
    return _adding(dataclasses.fields(BenchmarkConfig))(command)


def shrink_options(command: Command) -> Command:
    """Add the options that say what can go."""
    return _adding(dataclasses.fields(ShrinkConfig))(command)


def search_options(command: Command) -> Command:
    """Add the options of a search: those of a training, some of them as ranges, and its own."""
    ranges = list(searchable())
    others = [field for field in declared() if field not in ranges]
    command = _adding(dataclasses.fields(SearchConfig))(command)
    command = _adding(others)(command)
    for field in reversed(ranges):
        name = option_name(field)
        default = DEFAULT_SPACE.get(name, field.default)
        command = click.option(
            _flag(name),
            name,
            default=f"{default:g}" if isinstance(default, float) else str(default),
            show_default=True,
            metavar="VALUE|RANGE|CHOICES",
            help=field.metadata["text"],
        )(command)
    return command


def differing(context: click.Context) -> dict[str, Any]:
    """Return the parameters that differ from their defaults, by name."""
    return {
        str(param.name): context.params[param.name]
        for param in context.command.params
        if param.name in context.params and context.params[param.name] != param.default
    }


def _adding(settings: Iterable[Field]) -> Callable[[Command], Command]:
    """Return the decorator that adds an option for each field."""
    fields = list(settings)

    def add(command: Command) -> Command:
        for field in reversed(fields):  # decorators apply from the last to the first
            name, choices = option_name(field), field.metadata.get("choices")
            command = click.option(
                _flag(name),
                name,
                type=_TYPES[field.type],
                default=field.default,
                show_default=True,
                metavar="|".join(choices) if choices else None,
                help=field.metadata["text"],
            )(command)
        return command

    return add


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
