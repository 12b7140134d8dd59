"""How a setting is declared: its default, meaning and range, in one place.

Each group of settings is a frozen pydantic dataclass. It accepts text too, as it comes from a
command line or from a logged run. The command line of every entry point is made from these fields.
"""

import dataclasses
import functools
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform

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
_KINDS = {"integer": int, "number": float, "boolean": bool}
_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}


def setting(
    default: Any, text: str, *, option: str = "", search: str = "", unet: Any = None, **limits: Any
) -> Any:
    """Declare one field.

    Args:
        default: its value when nothing is said; `...` where something must be said.
        text: one sentence for `--help`.
        option: the parameter's name where it differs from the field's.
        search: `linear`, `log` or `choice`, where a search may vary it.
        unet: its default with `encoder=unet`, where that differs.
        limits: pydantic's `ge`, `gt`, `le`, `lt`.
    """
    extra: dict[str, Any] = {"option": option, "search": search, "unet": unet}
    return pydantic.Field(default, description=text, json_schema_extra=extra, **limits)


@dataclass_transform(kw_only_default=True, frozen_default=True)
def settings(cls: type[_Settings]) -> type[_Settings]:
    """Make a class of fields into settings that are valid once they exist.

    Creating one raises a ConfigError that names every impossible value at once. An empty text, or
    None, is the default.
    """
    made: Any = pydantic.dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    check = made.__init__

    def checked(self: Any, **values: Any) -> None:
        try:
            check(self, **{name: one for name, one in values.items() if one not in ("", None)})
        except pydantic.ValidationError as error:
            known = {one.name: one for one in declared(made)}
            # A union gives an error for each of its members: one is enough.
            wrong = {
                str(one["loc"][0]): "" if one["type"] == "missing" else one["input"]
                for one in error.errors()
            }
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
    search: str  # `linear`, `log` or `choice` where a search may vary it, else empty
    unet: Any  # its default with `encoder=unet`, where that differs
    schema: Mapping[str, Any]  # its JSON schema

    @property
    def default(self) -> Any:
        """Its value when nothing is said."""
        return self.schema.get("default", "")

    @property
    def help(self) -> str:
        """Its meaning, a sentence, and its default."""
        default = str("" if self.default is None else self.default)
        if self.kind is bool:
            default = default.lower()
        if self.unet is not None:
            default += f", or {self.unet} with encoder=unet"
        text: str = self.schema["description"]
        return f"{text}  [default: {default}]" if default else text

    @property
    def _kinds(self) -> list[dict[str, Any]]:
        kinds: list[dict[str, Any]] = self.schema.get("anyOf", [self.schema])
        return kinds

    @property
    def kind(self) -> type:
        """`int`, `float`, `bool` or `str`."""
        return _KINDS.get(self._kinds[0]["type"], str)

    @property
    def choices(self) -> list[str]:
        """All words that it can be; none: any of its kind."""
        return [word for one in self._kinds for word in one.get("enum", [one.get("const")]) if word]

    @property
    def expected(self) -> str:
        """What it can be, in words."""
        if self.kind is bool:
            return "true or false"
        if self.kind is str:
            other = ", or the path of a file" * (len(self._kinds) > 1)
            words = ", ".join(self.choices)
            return f"one of {words}{other}" if words else "a text that is not empty"
        limits = self._kinds[0]
        bounds = [f"{words} {limits[key]}" for key, words in _BOUNDS.items() if key in limits]
        number = "a whole number" if self.kind is int else "a number"
        other = "".join(f", or {word!r}" for word in self.choices)
        return f"{number}{',' if bounds else ''} {' and '.join(bounds)}".rstrip() + other

    def problem(self, value: Any) -> str:
        """Say in one clause what is wrong with a value."""
        return f"{self.option}={value}: expected {self.expected}"


def declared(*groups: Any) -> Iterator[Setting]:
    """Yield the settings of classes made by `settings`, in the order of their declaration."""
    for group in groups:
        yield from _declared(group)


@functools.cache
def _declared(group: Any) -> list[Setting]:
    found = []
    for name, schema in pydantic.TypeAdapter(group).json_schema()["properties"].items():
        extra = {key: schema.pop(key) for key in ("option", "search", "unet")}
        extra["option"] = extra["option"] or name
        found.append(Setting(name=name, schema=schema, **extra))
    return found


def from_options(group: type[_Settings], options: Mapping[str, Any]) -> _Settings:
    """Build settings from values by the parameters' names; others are ignored, empty ones default.

    Raises:
        ConfigError: names every impossible value at once.
    """
    return group(**{one.name: options.get(one.option) for one in declared(group)})


def all_of(*makes: Callable[[], Any]) -> list[Any]:
    """Return what each function makes; one ConfigError names what is wrong with any of them."""
    made, problems = [], []
    for make in makes:
        try:
            made.append(make())
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("; ".join(problems))
    return made


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
