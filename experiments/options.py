"""Command-line options made from the settings, so that they are declared once."""

import dataclasses
from collections.abc import Callable
from typing import Any

import click

from segmentation.config import Config, Count, option_name


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


_TYPES: dict[Any, Any] = {
    Count: CountType(),
    int: click.INT,
    float: click.FLOAT,
    str: click.STRING,
}


def config_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add an option for each of the settings `names`, or for all of them."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        settings = [
            field
            for part in dataclasses.fields(Config)
            for field in dataclasses.fields(part.type)  # type: ignore[arg-type]
            if not names or option_name(field) in names
        ]
        for field in reversed(settings):  # decorators apply from the last to the first
            name, choices = option_name(field), field.metadata.get("choices")
            command = click.option(
                f"--{name.replace('_', '-')}",
                name,
                type=_TYPES[field.type],
                default=field.default,
                show_default=True,
                metavar="|".join(choices) if choices else None,
                help=field.metadata["text"],
            )(command)
        return command

    return add
