"""The settings of a search, besides those of the trainings that it is made of."""

import math
import re
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from segmentation.config.fields import MOST, Count, Text, seconds_of, setting, settings
from segmentation.errors import ConfigError

#: What `tune` searches when nothing is said.
DEFAULT_SPACE = {"width": "8..32:8", "lr": "3e-4..3e-2"}

#: Ends the name of the second study that each one has.
CONFIRMATION = ".confirmation"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@settings
class SearchConfig:
    """How a search goes; valid once it exists."""

    trials: int = setting(
        20, "Trials in all, those of earlier commands on the same study included.", ge=1, le=MOST
    )
    timeout: Text = setting(
        "none", "Begin no further trial after so long, such as 90s, 20m or 8h; or 'none'."
    )
    trial_epochs: int = setting(20, "Passes over the training images in a trial.", ge=1, le=MOST)
    pruner: Literal["halving", "median", "none"] = setting(
        "halving",
        "Stops trials early: 'halving' those outside the better half at a quarter and at half of "
        "their epochs, 'median' those below the median from a quarter on.",
    )
    confirm: int = setting(
        3,
        "Finalists that are trained again at full length, with two new seeds each, and compared "
        "with train's defaults on the gate split; 0: none.",
        ge=0,
        le=100,
    )
    keep: Count = setting("all", "So many of the best trials keep their models, or 'all'.")
    study: Text = setting("auto", "Name of the study; 'auto' makes one from the settings.")
    storage: Text = setting(
        "file",
        "Where the study is kept: 'file', beside the tracking store, or "
        "postgresql://USER@HOST/DATABASE for several machines.",
    )
    heartbeat: int = setting(
        10,
        "Seconds between the heartbeats of a running trial; after six missing ones its parameters "
        "are tried again.",
        ge=1,
        le=3600,
    )
    workers: int = setting(
        0,
        "Trials at once on this machine, each with its share of the threads; 0: two on a CPU with "
        "two cores or more, else one.",
        ge=0,
        le=256,
    )

    def __post_init__(self) -> None:
        found = []
        if self.timeout != "none" and seconds_of(self.timeout) is None:
            found.append(f"timeout={self.timeout}: expected such as 90s, 20m, 8h or none")
        if not _NAME.fullmatch(self.study) or self.study.endswith(CONFIRMATION):
            found.append(
                f"study={self.study}: expected up to 100 letters, digits, '.', '_' and '-', the "
                f"first a letter or digit, and no '{CONFIRMATION}' at its end"
            )
        if self.storage != "file":
            found += _address_problems(self.storage)
        if found:
            raise ConfigError("; ".join(found))

    @property
    def seconds(self) -> float:
        """The timeout in seconds; infinity for none."""
        return math.inf if self.timeout == "none" else seconds_of(self.timeout) or 0.0


def _address_problems(address: str) -> list[str]:
    """Say what is wrong with the address of a PostgreSQL database."""
    expected = "expected postgresql://USER@HOST:PORT/DATABASE, or 'file'"
    try:
        parts = urlsplit(address)
        right = bool(parts.scheme == "postgresql" and parts.hostname and parts.path.strip("/"))
        right = right and (parts.port is None or parts.port > 0)
        secret = parts.password is not None or "password" in "".join(parse_qs(parts.query))
    except ValueError:
        return [f"storage: {expected}"]
    if secret:
        return [
            "storage: the address holds a password, which MLflow logs as a parameter (under "
            "`mlflow run` it has by now: change it); leave it out and set PGPASSWORD, or use "
            "~/.pgpass"
        ]
    return [] if right else [f"storage={address}: {expected}"]
