"""What is searched: values, ranges and choices, in the notation in which users give them.

lr=3e-4..3e-2        any value between, both ends included
width=8..32:8        8, 16, 24 and 32
loss=bce,bce+dice    one of these
depth=4              not searched
"""

import functools
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, cast

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from segmentation.config.commands import ModelName, parameters
from segmentation.config.fields import all_of, from_options
from segmentation.config.search import DEFAULT_SPACE, SearchConfig
from segmentation.config.training import (
    Config,
    encoder_of,
    searchable,
    typed,
)
from segmentation.errors import ConfigError

Value = int | float | str
Dimension = IntDistribution | FloatDistribution | CategoricalDistribution
Space = dict[str, Dimension]


def notation(space: Space) -> dict[str, str]:
    """Return each dimension as a user types it."""
    return {name: _notation(dimension) for name, dimension in space.items()}


def renamed(space: Space, files: Mapping[str, str]) -> Space:
    """Return a space with other names for the files that augment; of two of one name one stays."""
    choices = getattr(space.get("augment"), "choices", ())
    names = dict.fromkeys(files.get(one, one) for one in choices)
    return {**space, "augment": CategoricalDistribution([*names])} if names else space


def _notation(dimension: Dimension) -> str:
    if isinstance(dimension, CategoricalDistribution):
        return ",".join(map(str, dimension.choices))
    step = f":{dimension.step}" if dimension.step not in (None, 1) else ""
    return f"{dimension.low}..{dimension.high}{step}"


def parse(texts: Mapping[str, str]) -> tuple[dict[str, Value], Space]:
    """Separate the values that are given from the dimensions to search, by the parameters' names.

    An empty text is the parameter's default.

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
            told = error if isinstance(error, ValueError) else "expected numbers of fewer digits"
            problems.append(f"{name}={text}: {told}")
            continue
        if isinstance(parsed, Value):
            fixed[name] = parsed
        else:
            space[name] = parsed
    if problems:
        raise ConfigError("; ".join(problems))
    if not space:
        raise ConfigError(
            "there is nothing to search: give at least one parameter a range such as "
            "width=8..32:8 or choices such as loss=bce,bce+dice"
        )
    return fixed, space


def requested(given: Mapping[str, Any]) -> tuple[SearchConfig, Space, dict[str, Any]]:
    """Return how the search goes, its space and all settings, see `check`, of what a user gave.

    Raises:
        ConfigError: as `parse` and `check` do, or a value is impossible.
    """
    options = {**dict.fromkeys(parameters("tune"), ""), **given}
    options |= encoder_of(given)

    def searched() -> tuple[Space, dict[str, Any]]:
        fixed, space = parse({one.option: str(options[one.option]) for one in searchable()})
        rest = {name: one for name, one in options.items() if name not in space}
        return space, check(space, {**rest, **fixed})

    own = (functools.partial(from_options, group, options) for group in (SearchConfig, ModelName))
    config, _, (space, settings) = all_of(*own, searched)
    return config, space, settings


def check(space: Space, options: Mapping[str, Any]) -> dict[str, Any]:
    """Check each value at a limit of the space, and that every corner is a valid configuration.

    Return all settings by their parameters' names, train's defaults for what is searched.

    Raises:
        ConfigError: some corner is not, or the defaults are not.
    """
    problems: dict[str, None] = {}

    def possible(check: Callable[[dict[str, Any]], object], values: dict[str, Any]) -> bool:
        try:
            check(values)
        except ConfigError as error:
            problems[str(error)] = None
            return False
        return True

    ends = []
    for name, dimension in space.items():
        good = sorted(one for one in _limits(dimension) if possible(typed, {name: one}))
        # Of many choices the outermost: else there would be thousands of corners.
        ends.append(dict.fromkeys(good[:1] + good[-1:]))
    for corner in itertools.product(*ends):
        possible(Config.from_options, {**options, **dict(zip(space, corner, strict=True))})
    if problems:
        raise ConfigError("; ".join(problems))
    try:
        return Config.from_options(options).options()
    except ConfigError as error:
        raise ConfigError(
            f"{error} (with train's defaults for what is searched, which are trained to compare)"
        ) from error


def _limits(dimension: Dimension) -> tuple[Any, ...]:
    if isinstance(dimension, CategoricalDistribution):
        return tuple(dimension.choices)
    return (dimension.low, dimension.high)


def _parse(text: str, kind: Any, *, log: bool) -> Value | Dimension:
    if ".." in text and kind is not str:
        return _parse_range(text, kind, log=log)
    values = [_number(part, kind) if kind is not str else part.strip() for part in text.split(",")]
    if len(set(values)) != len(values) or "" in values:
        raise ValueError("expected different choices, none of them empty")
    return cast(Value, values[0]) if len(values) == 1 else CategoricalDistribution(values)


def _parse_range(text: str, kind: Any, *, log: bool) -> Dimension:
    low_text, _, rest = text.partition("..")
    high_text, colon, step_text = rest.partition(":")
    low, high = _number(low_text, kind), _number(high_text, kind)
    step = _number(step_text, kind) if colon else None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError("expected LOW..HIGH with LOW below HIGH")
    if step is not None and not 0 < step <= high - low:
        raise ValueError("expected a step above 0 and within the range")
    if step is not None and not math.isclose(round((high - low) / step) * step, high - low):
        raise ValueError(f"expected HIGH to be LOW plus a multiple of {step:g}")
    if kind is int:
        return IntDistribution(low, high, step=step or 1)
    log = log and not colon
    if log and low <= 0:
        raise ValueError("expected LOW above 0, since its logarithm is searched")
    return FloatDistribution(low, high, step=step, log=log)


def _number(text: str, kind: Any) -> Any:
    try:
        return kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise ValueError(f"expected {what}, LOW..HIGH, LOW..HIGH:STEP or A,B,C") from None


def format_params(params: Mapping[str, Value]) -> str:
    """Return parameters in a few words, such as `width 16, lr 0.004`."""
    return ", ".join(f"{name} {format_value(value)}" for name, value in params.items())


def format_value(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
