"""What a process runs in: its environment variables, and whether it is a notebook's."""

import contextlib
import math
import os
import sys
from collections.abc import Iterator, Mapping

from segmentation.errors import ConfigError


def seconds_in(variable: str, default: float) -> float:
    """Return the seconds, 0 or more, that an environment variable holds; unset is the default."""
    text = os.environ.get(variable, "")
    try:
        seconds = float(text or default)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise ConfigError(f"{variable}={text}: expected a number of seconds, 0 or more")
    return seconds


def in_notebook() -> bool:
    """Tell whether this is a notebook's kernel; who only looks for one imports ipykernel, too."""
    return "ipykernel.kernelapp" in sys.modules


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while: some settings of libraries nothing else reaches."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
