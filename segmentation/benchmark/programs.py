"""Runs the project's own programs as a user does, on a store that ends with the measurement."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from segmentation.errors import PetsegError

PROJECT = Path(__file__).parent.parent.parent

_GRACE = 10.0  # seconds for a program that is asked to end


class ProgramError(PetsegError):
    """A program that was to be measured has failed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finished:
    """A program that has ended well.

    Attributes:
        began, ended: seconds since 1970.
        out: what it printed.
    """

    began: float
    ended: float
    out: str

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.began


@dataclasses.dataclass(frozen=True)
class Place:
    """A folder for programs to run in, with an MLflow store of its own."""

    folder: Path

    @property
    def store(self) -> str:
        """The address of that store."""
        return f"sqlite:///{self.folder}/mlflow.db"

    def run(self, command: Sequence[str], **variables: str) -> Finished:
        """Run a command to its end.

        Args:
            command: its words.
            variables: of the environment, besides the user's.

        Raises:
            ProgramError: it failed; the message has the end of what it said.
        """
        began = time.time()
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=_environment(self.store) | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # and so a group, which ends as a whole
        )
        try:
            out, err = process.communicate()
        except BaseException:  # Ctrl-C or SIGTERM: what we started ends with us
            _end(process)
            raise
        if process.returncode:
            last = err.strip().splitlines()[-3:]
            raise ProgramError(
                f"`{' '.join(command)}` ended with code {process.returncode}: {' '.join(last)}"
            )
        return Finished(began=began, ended=time.time(), out=out)


def _end(process: "subprocess.Popen[str]") -> None:
    """End a program with all that it has started, which a launcher alone would leave behind.

    Its pipes are read meanwhile, since who writes into a full one does not end.
    """
    for asked in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, asked)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_GRACE)
            return


@contextlib.contextmanager
def place() -> Iterator[Place]:
    """Yield a new folder for programs to run in; it is deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="petseg-benchmark-") as folder:
        yield Place(Path(folder).resolve())


def entry(name: str, **options: object) -> list[str]:
    """Return the command line of an entry point, such as `tune`."""
    words = [
        word
        for option, value in options.items()
        for word in (f"--{option.replace('_', '-')}", str(value))
    ]
    return [sys.executable, "-m", f"experiments.{name}", *words]


def launched(name: str, **options: object) -> list[str]:
    """Return the command line of `mlflow run` for an entry point."""
    words = [word for option, value in options.items() for word in ("-P", f"{option}={value}")]
    command = [sys.executable, "-m", "mlflow", "run", str(PROJECT), "-e", name]
    return [*command, "--env-manager", "local", *words]


def _environment(store: str) -> dict[str, str]:
    """Return the user's environment, with another store, and this Python first on the path."""
    rest = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    path = [str(Path(sys.executable).parent), rest.get("PATH", "")]
    modules = [str(PROJECT), rest.get("PYTHONPATH", "")]
    return rest | {
        "MLFLOW_TRACKING_URI": store,
        "PATH": os.pathsep.join(part for part in path if part),
        "PYTHONPATH": os.pathsep.join(part for part in modules if part),
    }
