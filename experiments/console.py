"""What all entry points share: log lines, one-line errors, exit codes."""

import contextlib
import functools
import gc
import io
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import click

from segmentation.errors import ConfigError, PeerLostError, TrainingError, explain
from segmentation.runtime.sharding import shard_from_env
from segmentation.runtime.signals import end_like_ctrl_c
from segmentation.utils.concurrency import ProgressBar

#: What an entry point does with what the user gives, by the parameters' names.
Main = Callable[[dict[str, Any]], None]

_AFTER_OTHERS = 5.0  # seconds


class _Printer(logging.Handler):
    """Prints what the project logs, unchanged."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(record.getMessage(), err=record.levelno >= logging.WARNING)


class _Output(io.FileIO):
    """A standard stream that ends nobody's work: what nobody can take any more is dropped.

    The reader of a pipe may have left (`| head`), a terminal be closed, a disk be full.
    """

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except OSError:
            _to_nowhere(self.fileno())
            return super().write(content)


def _to_nowhere(number: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, number)
    os.set_inheritable(number, True)
    if nowhere != number:
        os.close(nowhere)


def _secure_streams() -> None:
    """Have standard streams that always work; a closed one would be the next file that is opened.

    Names may hold what an output cannot show: that is then written as an escape.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            _to_nowhere(number)
    for number, name in ((1, "stdout"), (2, "stderr")):
        if (stream := getattr(sys, name)) is getattr(sys, f"__{name}__"):
            binary = io.BufferedWriter(_Output(number, "w", closefd=False))
            encoding = getattr(stream, "encoding", None)
            text = io.TextIOWrapper(binary, encoding, "backslashreplace", line_buffering=True)
            setattr(sys, name, text)


def one_line_errors(command: Main) -> Callable[..., None]:
    """Give a command those of its options that are not empty.

    It ends with exit code 2 on impossible parameters and 1 on other failures, never a traceback.

    What is left to show one is a defect of this program. SIGTERM and SIGHUP end like Ctrl-C.
    """

    @functools.wraps(command)
    def wrapped(**options: Any) -> None:
        end_like_ctrl_c()
        _secure_streams()
        log = logging.getLogger("segmentation")
        log.handlers = [_Printer()]
        log.propagate = False  # MLflow may give the root logger a handler of its own
        log.setLevel(logging.WARNING if _rank() else logging.INFO)
        # Importing and exporting make millions of objects that stay; looking for garbage among
        # them as often as Python does by default takes more than a second of every command.
        gc.set_threshold(100_000, 20, 50)
        try:
            command({name: value for name, value in options.items() if value != ""})
        except KeyboardInterrupt as error:
            text = "stopped by Ctrl-C or SIGTERM or SIGHUP; a run that had begun is marked KILLED"
            _end(text, 1, error)
        except click.exceptions.Exit:
            raise
        except Exception as error:
            message = explain(error)
            if message is None:
                tell_run(f"a defect of this program: {error!r}")
                raise
            _end(message, 2 if isinstance(error, ConfigError) else 1, error)
        finally:
            ProgressBar.close_open()
            # Python looks for garbage on its way out; among all that PyTorch and MLflow hold, that
            # takes two seconds, and the memory goes back to the system anyway.
            gc.freeze()

    return wrapped


def _end(message: str, code: int, error: BaseException) -> None:
    """End the program with a message and an exit code.

    Where all processes of a training meet the same error, the main one alone prints it.
    """
    rank = _rank()
    if isinstance(error, PeerLostError):
        # The process that is gone ends first, since its exit code says why; the launcher then ends
        # this one.
        signal.signal(signal.SIGTERM, signal.SIG_DFL if rank else signal.SIG_IGN)
        time.sleep(_AFTER_OTHERS if rank else 0.0)
    if rank and isinstance(error, (PeerLostError, TrainingError, KeyboardInterrupt)):
        sys.exit(code)
    tell_run(message, stopped=isinstance(error, KeyboardInterrupt))
    failure = click.ClickException(f"process {rank}: {message}" if rank else message)
    failure.exit_code = code  # type: ignore[misc]  # click itself assigns it so
    raise failure from error


def tell_run(message: str, *, stopped: bool = False) -> None:
    """Say in the run that `mlflow run` has opened for this command why nothing was begun in it.

    Nothing is raised: what the console says matters more.
    """
    if not os.environ.get("MLFLOW_RUN_ID") or _rank():
        return
    with contextlib.suppress(Exception, KeyboardInterrupt):
        # This takes seconds to import, which a command by itself must not.
        from segmentation.tracking.project_run import close_unused_run

        close_unused_run(message, stopped=stopped)


def _rank() -> int:
    """Return which process of a training this is; 0 where that is told wrongly, as `train` says."""
    try:
        return shard_from_env().rank
    except ConfigError:
        return 0
