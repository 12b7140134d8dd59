"""Where things are kept between runs: the user's cache folder, never beside the code."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return `$PETSEG_CACHE`, else `petseg` in `$XDG_CACHE_HOME`, else in `~/.cache`; absolute."""
    if own := os.environ.get("PETSEG_CACHE"):
        return Path(own).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "petseg"


def dataset_folder() -> Path:
    """Return the folder in which `prepare` lays down the real data set."""
    return cache_folder() / "oxford-iiit-pet"
