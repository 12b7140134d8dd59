"""What is searched: values, ranges and choices, in the notation in which users give them.

lr=3e-4..3e-2        any value between, both ends included
width=8..32:8        8, 16, 24 and 32
loss=bce,bce+dice    one of these
depth=4              not searched
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping
from typing import Any

from segmentation.config.search import DEFAULT_SPACE
from segmentation.config.training import Config, searchable
from segmentation.errors import ConfigError

Value = int | float | str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers between two ends, both included.

    Attributes:
        low, high: the ends, ints for a whole number.
        step: distance between neighbouring values; None for any value.
        log: whether equal ratios are equally likely, rather than equal differences.
    """

    low: float
    high: float
    step: float | None
    log: bool

    def __str__(self) -> str:
        """Return the notation."""
        step = f":{self.step}" if self.step is not None and self.step != 1 else ""
        return f"{self.low}..{self.high}{step}"

    def ends(self) -> tuple[Value, ...]:
        """Return the extreme values."""
        return (self.low, self.high)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choices:
    """Some values, at least two."""

    values: tuple[Value, ...]

    def __str__(self) -> str:
        """Return the notation."""
        return ",".join(map(str, self.values))

    def ends(self) -> tuple[Value, ...]:
        """Return all of them."""
        return self.values


Dimension = Range | Choices
Space = dict[str, Dimension]


def parse(texts: Mapping[str, str]) -> tuple[dict[str, Value], Space]:
    """Separate the values that are given from the dimensions to search.

    Args:
        texts: for each searchable parameter what the user said; empty: its default.

    Returns:
        The fixed values and the space, by the parameters' names.

    Raises:
        ConfigError: names every text that is in no known notation, or that there is nothing to
            search.
    """
    fixed: dict[str, Value] = {}
    space: Space = {}
    problems = []
    for setting in searchable():
        name = setting.option
        text = texts[name].strip() or DEFAULT_SPACE.get(name, str(setting.default))
        try:
            parsed = _parse(text, setting.kind, log=setting.search == "log")
        except (ValueError, OverflowError) as error:
            problems.append(f"{name}={text}: {error}")
            continue
        if isinstance(parsed, Range | Choices):
            space[name] = parsed
        else:
            fixed[name] = parsed
    if problems:
        raise ConfigError("; ".join(problems))
    if not space:
        raise ConfigError(
            "there is nothing to search: give at least one parameter a range such as "
            "width=8..32:8 or choices such as loss=bce,bce+dice"
        )
    return fixed, space


def check(space: Space, options: Mapping[str, Any]) -> None:
    """Check that every corner of the space is a valid configuration.

    Args:
        space: what is searched.
        options: every other setting, by its parameter's name.

    Raises:
        ConfigError: some corner is not.
    """
    problems: dict[str, None] = {}
    for corner in itertools.product(*(dimension.ends() for dimension in space.values())):
        try:
            Config.from_options({**options, **dict(zip(space, corner, strict=True))})
        except ConfigError as error:
            problems[str(error)] = None
    if problems:
        raise ConfigError("; ".join(problems))


def _parse(text: str, kind: Any, *, log: bool) -> Value | Dimension:
    """Turn one text into a value or a dimension."""
    if ".." in text and kind is not str:
        low_text, _, rest = text.partition("..")
        high_text, colon, step_text = rest.partition(":")
        low, high = _number(low_text, kind), _number(high_text, kind)
        step = _number(step_text, kind) if colon else (1 if kind is int else None)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError("expected LOW..HIGH with LOW below HIGH")
        if step is not None and not 0 < step <= high - low:
            raise ValueError("expected a step above 0 and within the range")
        if step is not None and not math.isclose(round((high - low) / step) * step, high - low):
            raise ValueError(f"expected HIGH to be LOW plus a multiple of {step:g}")
        log = log and not colon
        if log and low <= 0:
            raise ValueError("expected LOW above 0, since its logarithm is searched")
        return Range(low=low, high=high, step=step, log=log)
    values = [_number(part, kind) if kind is not str else part.strip() for part in text.split(",")]
    if len(set(values)) != len(values):
        raise ValueError("expected different choices")
    return values[0] if len(values) == 1 else Choices(values=tuple(values))


def _number(text: str, kind: Any) -> Any:
    try:
        return kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise ValueError(f"expected {what}, LOW..HIGH, LOW..HIGH:STEP or A,B,C") from None


def format_params(params: Mapping[str, Value]) -> str:
    """Return parameters in a few words, such as `width 16, lr 0.004`."""
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in params.items()
    )
