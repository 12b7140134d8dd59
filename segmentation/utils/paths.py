"""Where things are kept between runs: the user's cache folder, never beside the code."""

import os
import unicodedata
from pathlib import Path

from segmentation.errors import ConfigError


def user_path(text: str, name: str) -> Path:
    """Return the absolute path that a user gave for the parameter or variable `name`."""
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:  # it begins with the home of a user who is not there
        raise ConfigError(f"{name}={text}: {error}; give an absolute path") from error


def printable(text: str) -> str:
    """Return a path as text that can be shown and stored; names need not be UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def casefold_key(name: str) -> str:
    """Return what two names have in common that some file systems take for one, such as A and a."""
    return unicodedata.normalize("NFC", name).casefold()


def cache_folder() -> Path:
    """Return `$PETSEG_CACHE`, else `petseg` in `$XDG_CACHE_HOME`, else in `~/.cache`; absolute."""
    if own := os.environ.get("PETSEG_CACHE"):
        return user_path(own, "PETSEG_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return user_path(base, "XDG_CACHE_HOME") / "petseg"


def dataset_folder() -> Path:
    """Return the folder into which `prepare` downloads the real data set."""
    return cache_folder() / "oxford-iiit-pet"


def runs_folder() -> Path:
    """Return the folder of what unfinished runs need, a folder each."""
    return cache_folder() / "runs"
