"""How a setting is declared: its default, meaning and range, in one place.

Each group of settings is a frozen pydantic dataclass. It accepts text too, as it comes from a
command line or from a logged run. The command line of every entry point is made from these fields.
"""

import dataclasses
import os
import re
import types
from collections.abc import Iterator, Mapping
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
)

import annotated_types
import pydantic

from segmentation.errors import ConfigError

#: A limit where nothing else gives one: a number of hundreds of digits is no float.
MOST = 10**9
#: A number of images, or every one that the split has.
Count = Annotated[int, pydantic.Field(ge=1)] | Literal["all"]
Text = Annotated[str, pydantic.PlainValidator(lambda value: _text(value), str)]
#: A file by its whole path, which a training that goes on elsewhere still finds, or a word.
File = Annotated[str, pydantic.PlainValidator(lambda value: _file(value), str)]
#: The path of a file that is there.
ExistingFile = Annotated[str, pydantic.PlainValidator(lambda value: _existing_file(value), str)]
Seed = Annotated[int, pydantic.Field(ge=0, le=2**32 - 1)]

_Settings = TypeVar("_Settings")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_BOUNDS: dict[type, tuple[str, str]] = {
    annotated_types.Ge: ("ge", "at least"),
    annotated_types.Gt: ("gt", "more than"),
    annotated_types.Le: ("le", "at most"),
    annotated_types.Lt: ("lt", "less than"),
}


def setting(
    default: Any,
    text: str,
    *,
    option: str = "",
    search: str = "",
    **limits: Any,
) -> Any:
    """Declare one field.

    Args:
        default: its value when nothing is said.
        text: one sentence for `--help`.
        option: the parameter's name where it differs from the field's.
        search: `linear`, `log` or `choice`, where a search may vary it.
        limits: pydantic's `ge`, `gt`, `le`, `lt`.
    """
    extra: dict[str, Any] = {"option": option, "search": search}
    return pydantic.Field(default, description=text, json_schema_extra=extra, **limits)


@dataclass_transform(kw_only_default=True, frozen_default=True)
def settings(cls: type[_Settings]) -> type[_Settings]:
    """Make a class of fields into settings that are valid once they exist.

    Creating one raises a ConfigError that names every impossible value at once.
    """
    made: Any = pydantic.dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    check = made.__init__

    def checked(self: Any, **values: Any) -> None:
        try:
            check(self, **values)
        except pydantic.ValidationError as error:
            known = {one.name: one for one in declared(made)}
            # A union gives an error for each of its members: one is enough.
            wrong = {str(one["loc"][0]): one["input"] for one in error.errors()}
            raise ConfigError(
                "; ".join(known[name].problem(value) for name, value in wrong.items())
            ) from error

    made.__init__ = checked
    return made  # type: ignore[no-any-return]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """A declared field."""

    name: str  # of the field
    option: str  # the parameter's name, as users type it
    default: Any
    text: str  # its meaning, a sentence
    kind: type  # `int`, `float`, `bool` or `str`
    choices: tuple[str, ...]  # all that it can be; empty: anything of its kind
    search: str  # `linear`, `log` or `choice` where a search may vary it, else empty
    expected: str  # what it can be, in words

    def problem(self, value: Any) -> str:
        """Say in one clause what is wrong with a value."""
        return f"{self.option}={value}: expected {self.expected}"


def declared(*groups: Any) -> Iterator[Setting]:
    """Yield the settings of classes made by `settings`, in the order of their declaration."""
    for group in groups:
        for name, field in group.__pydantic_fields__.items():
            kind, choices = _kind(field.annotation)
            extra = field.json_schema_extra
            yield Setting(
                name=name,
                option=extra["option"] or name,
                default=field.default,
                text=field.description,
                kind=kind,
                choices=choices if kind is str else (),
                search=extra["search"],
                expected=_expected(kind, choices, field),
            )


def json_schema(*groups: Any) -> dict[str, Any]:
    """Return the JSON schema of each setting of some classes, by the parameters' names."""
    found = {}
    for group in groups:
        for name, one in pydantic.TypeAdapter(group).json_schema()["properties"].items():
            found[one.pop("option") or name] = one
    return found


def from_options(group: type[_Settings], options: Mapping[str, Any]) -> _Settings:
    """Build settings from values by the parameters' names; others are ignored, empty ones default.

    Raises:
        ConfigError: names every impossible value at once.
    """
    given = {one.name: options.get(one.option, "") for one in declared(group)}
    return group(**{name: value for name, value in given.items() if value not in ("", None)})


def seconds_of(text: str) -> float | None:
    """Return the seconds of a time such as `90s`, `20m`, `1.5h` or `30d`; None if it is none."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)([smhd]?)", text.strip())
    return float(match[1]) * _UNITS[match[2]] if match else None


def _text(value: Any) -> str:
    # Not as pydantic checks a str: it refuses paths that are not UTF-8.
    text = str(value) if isinstance(value, int) else value  # `foreground=1`
    if not isinstance(text, str) or not text.strip():
        raise ValueError
    return text


def _file(value: Any) -> str:
    text = _text(value)
    return text if text in ("auto", "none") else os.path.abspath(os.path.expanduser(text))


def _existing_file(value: Any) -> str:
    path = os.path.abspath(os.path.expanduser(_text(value)))
    if not os.path.isfile(path):
        raise ValueError
    return path


def _kind(annotation: Any) -> tuple[type, tuple[str, ...]]:
    """Return the plain type of an annotation, and its literal choices."""
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return str, get_args(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [_kind(one) for one in get_args(annotation)]
        return kinds[0][0], kinds[0][1] or kinds[1][1]
    return annotation, ()


def _expected(kind: type, choices: tuple[str, ...], field: Any) -> str:
    if kind is str:
        other = ", or the path of a file" * (get_origin(field.annotation) is not Literal)
        return f"one of {', '.join(choices)}{other}" if choices else "a text that is not empty"
    if kind is bool:
        return "true or false"
    number = "a whole number" if kind is int else "a number"
    limits = [*field.metadata, *(annotated_types.Ge(1) for _ in choices)]
    bounds = [
        f"{words} {getattr(limit, name)}"
        for limit in limits
        for name, words in [_BOUNDS.get(type(limit), ("", ""))]
        if name
    ]
    other = f", or {choices[0]!r}" if choices else ""
    return f"{number}{',' if bounds else ''} {' and '.join(bounds)}".rstrip() + other
