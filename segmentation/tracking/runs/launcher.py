"""What was typed for `mlflow run`, which itself does not tell."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import psutil


def launched() -> bool:
    """Tell whether `mlflow run` may have started this process."""
    return "MLFLOW_RUN_ID" in os.environ


def typed(run_id: str) -> set[str] | None:
    """Return the names of the parameters that were given to `mlflow run` with `-P`.

    It passes every parameter on and logs every one, those at their defaults too: what was given
    stands on its own command line alone.

    Args:
        run_id: what was given for the parameter `like` or `resume`, by which the right command
            is known.

    Returns:
        None where no such command can be seen, as when a program calls `mlflow.projects.run`.
    """
    for words in _commands():
        pairs = dict(pair.split("=", 1) for pair in _pairs(words) if "=" in pair)
        named = run_id in (pairs.get("like"), pairs.get("resume"))
        if named and any(Path(word).name == "mlflow" for word in words):
            # A name that MLproject does not know is passed on as an option of that name.
            return {name.replace("-", "_") for name in pairs}
    return None


def _commands() -> Iterator[list[str]]:
    """Yield the command lines of the processes above this one, the nearest first."""
    with contextlib.suppress(psutil.Error):  # one has ended: then there are none above it
        for process in psutil.Process().parents():
            with contextlib.suppress(psutil.Error):  # the system's own may not be looked at
                yield process.cmdline()


def _pairs(words: list[str]) -> Iterator[str]:
    """Yield what a command line gives as `-P NAME=VALUE`, in any of its spellings."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word in ("-P", "--param-list"):
            yield following
        elif word.startswith(("-P", "--param-list=")):
            yield word.removeprefix("-P").removeprefix("--param-list=")
