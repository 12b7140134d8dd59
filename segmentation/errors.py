"""The errors that a user can cause: each is one message, told without a traceback."""

from collections.abc import Sequence


class PetsegError(Exception):
    """Something outside the code is wrong; the message says what, and what to do."""


class ConfigError(PetsegError):
    """A parameter's value is impossible (exit code 2)."""


class DataError(PetsegError):
    """Files of a data set cannot be used.

    Attributes:
        problems: one line for each offender, all of them, each naming its file.
    """

    def __init__(self, summary: str, problems: Sequence[str] = ()) -> None:
        """Join `summary` (what was expected, what to do) and the list of `problems`."""
        self.problems = tuple(problems)
        super().__init__("\n".join([summary, *(f"  {problem}" for problem in self.problems)]))


class TrainingError(PetsegError):
    """Training cannot go on, for example because the loss is not finite."""


class TrackingError(PetsegError):
    """The MLflow store or server cannot be used."""
