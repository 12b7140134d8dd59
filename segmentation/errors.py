"""The errors that a user can cause: each is one message, told without a traceback."""

import errno
import re
from collections.abc import Sequence

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


class PetsegError(Exception):
    """Something outside the code is wrong; the message says what, and what to do."""


class ConfigError(PetsegError):
    """A parameter's value is impossible (exit code 2)."""


class DataError(PetsegError):
    """Files of a data set cannot be used; each of `problems` names one of them, on a line."""

    def __init__(self, summary: str, problems: Sequence[str] = ()) -> None:
        self.problems = tuple(problems)
        super().__init__("\n  ".join([summary, *problems]))


class TrainingError(PetsegError):
    """Training cannot go on, for example because the loss is not finite."""


class CheckpointError(PetsegError):
    """A checkpoint is missing, damaged, or of another training or format."""


class PeerLostError(PetsegError):
    """Another process of a training has gone, or does not answer any more."""

    #: What it says, by which a run is known that ended so.
    TEXT = (
        "another process of this training has gone, or does not answer; what was trained until the "
        "last checkpoint is kept"
    )


class ModelError(PetsegError):
    """A model cannot be used as one that tells pet from background."""


class TrackingError(PetsegError):
    """The MLflow store or server cannot be used."""


def first_line(error: BaseException) -> str:
    """Return what an error says first; the name of its class where it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out, the system's or a GPU's."""
    text = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "allocate memory" in text)
    )


def explain(error: Exception) -> str | None:
    """Say what is wrong and what to do; None where only a traceback helps."""
    # Optuna says nothing of its own of what a database has refused.
    told = (type(error).__name__ == "StorageInternalError" and error.__cause__) or error
    text = first_line(told)
    if isinstance(error, PetsegError):
        return str(error)
    if "DataLoader worker" in text:  # PyTorch's words
        return (
            f"{text.partition('. ')[0]}; memory may have run out, or a container's /dev/shm: lower "
            "loader_workers, or start the container with --shm-size=1g"
        )
    if isinstance(error, OSError):
        return text + _remedy(error)
    if out_of_memory(error):
        return "memory ran out; lower batch_size, image_size, width or the number of images"
    if isinstance(error, ModuleNotFoundError) and error.name == "psycopg":
        return "PostgreSQL needs the package psycopg: `pip install '.[postgres]'` gets it"
    if type(error).__module__.partition(".")[0] == "mlflow":
        return f"the tracking store failed: {text}{_remedy(told)}"
    if type(error).__module__.partition(".")[0] in ("sqlalchemy", "psycopg", "optuna"):
        return f"the study's storage failed: {text}{_remedy(told)}"
    return None


def _remedy(error: BaseException) -> str:
    """Say what to do about what a system or a database says of its disk; else nothing."""
    text, number = str(error), getattr(error, "errno", 0)
    if number in _FULL or "disk is full" in text:
        return "; free some space, then run again"
    if number in _FORBIDDEN or re.search("readonly database|read-only", text):
        return "; make it writable, then run again"
    return ""
