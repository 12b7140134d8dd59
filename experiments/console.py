"""What all entry points share: log lines, progress, one-line errors, exit codes."""

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

#: Seconds between lines of a long work's progress, where there is no terminal to draw a bar on:
#: a tenth of what has passed, within these.
_PERIODS = (10.0, 60.0)
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


def one_line_errors(command: Callable[..., None]) -> Callable[..., None]:
    """End with exit code 2 on impossible parameters and 1 on other failures, never a traceback.

    What is left to show one is a defect of this program. SIGTERM and SIGHUP end like Ctrl-C.
    """

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
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
            command(*args, **kwargs)
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


class ProgressBar:
    """Shows how far a long work is: a bar on a terminal, some lines in a log."""

    _open: "ProgressBar | None" = None

    def __init__(self, label: str) -> None:
        self._label = label
        self._bar: Any = None
        self._begun = time.monotonic()
        self._first, self._due = (0, self._begun), 0.0

    def __call__(self, done: int, total: int, extra: str = "") -> None:
        """Show that `done` of `total` is done; `extra` stands behind it."""
        if sys.stdout.isatty():
            self._draw(done, total, extra)
            return
        now = time.monotonic()
        if not self._due:  # a work that goes on begins somewhere
            self._first, self._due = (done, now), now if extra else now + _PERIODS[0]
        if now >= self._due or done == total:
            seconds = now - self._begun
            self._due = now + min(max(seconds / 10, _PERIODS[0]), _PERIODS[1])
            parts = [f"{self._label} {done}/{total}", extra, f"after {seconds:.0f} s"]
            first, since = self._first
            if first < done < total:
                left = (now - since) / (done - first) * (total - done)
                parts[-1] += f", about {left:.0f} s left"
            click.echo("  ".join(part for part in parts if part))
            if done == total:  # the same may be done once more
                self._begun, self._due = now, 0.0

    def _draw(self, done: int, total: int, extra: str) -> None:
        if self._bar is None:
            self._bar = click.progressbar(
                length=total, label=self._label, show_pos=True, item_show_func=lambda text: text
            )
            self._bar.__enter__()
            ProgressBar._open = self
        self._bar.update(done - self._bar.pos, extra or None)
        if done == total:
            self.close()

    def close(self) -> None:
        """End the bar's line and show the cursor again."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar, ProgressBar._open = None, None

    @classmethod
    def close_open(cls) -> None:
        """Close the bar that an error has left open, if any."""
        if cls._open is not None:
            cls._open.close()
