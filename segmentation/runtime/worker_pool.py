"""Processes of this machine that work side by side, are replaced when they die, and end cleanly."""

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from segmentation.errors import PetsegError, TrainingError, explain
from segmentation.runtime.signals import StopSignal, end_like_ctrl_c
from segmentation.utils.environment import environment

_MAX_DEATHS = 10  # in a row, without a message in between
_GRACE_PERIOD = 30.0  # seconds to end in
_POLL = 0.5  # seconds between looks whether the user stops it
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_END = None  # is sent once the function has returned


class WorkerPool:
    """So many processes at once, each with so many threads, that run one function until it returns.

    It is called as `function(send, *arguments)`; it and they must be picklable.
    """

    def __init__(
        self, number: int, threads: int, function: Callable[..., None], *arguments: Any
    ) -> None:
        self._number, self._threads = number, threads
        self._target = (function, arguments)
        self._connections: dict[SpawnProcess, Connection] = {}
        self._deaths = 0  # since the last message

    def run(self, on_message: Callable[[Any], None]) -> None:
        """Run until every process has returned; those that die are replaced.

        `on_message` is called with what they send, and with a sentence when one has died.

        Raises:
            PetsegError: one of them ended with it, or they die again and again.
            KeyboardInterrupt: the user has stopped it. Noted until then: Python loses one that is
                raised while it removes an object, as it does all the time in a database's driver.
        """
        stop = StopSignal()
        with stop.defer():
            try:
                for _ in range(self._number):
                    self._start()
                while self._connections:
                    sentinels = [process.sentinel for process in self._connections]
                    ready = wait([*self._connections.values(), *sentinels], _POLL)
                    for process, connection in list(self._connections.items()):
                        if connection in ready or process.sentinel in ready:
                            self._attend(process, connection, on_message)
                    if stop.requested:
                        raise KeyboardInterrupt
            finally:
                self._end_all()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(theirs, *self._target))
        # OpenMP, and so PyTorch, reads it when it is loaded: before the process runs our code.
        with environment(dict.fromkeys(_THREADS, str(self._threads))):
            process.start()
        theirs.close()
        self._connections[process] = ours

    def _attend(
        self, process: SpawnProcess, connection: Connection, on_message: Callable[[Any], None]
    ) -> None:
        """Take in what a process has sent; replace it if it has died."""
        messages, alive = _receive(connection)
        ended = False
        for message in messages:
            if message is _END:
                ended = True
                continue
            if isinstance(message, PetsegError):
                raise message
            self._deaths = 0
            on_message(message)
        if alive and not ended:
            return
        process.join()
        connection.close()
        del self._connections[process]
        if ended:  # whatever the interpreter's own end came to
            return
        self._deaths += 1
        on_message(f"A worker died ({_reason(process)}); another takes its place")
        if self._deaths >= _MAX_DEATHS:
            raise TrainingError(
                f"workers died {self._deaths} times in a row without finishing anything, the last "
                f"one by {_reason(process)}; if the system's memory is full, lower `workers`, "
                "batch_size or width"
            )
        self._start()

    def _end_all(self) -> None:
        """Ask all to end, and make them after a while."""
        for process in self._connections:
            process.terminate()
        deadline = time.monotonic() + _GRACE_PERIOD
        for process, connection in self._connections.items():
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
            connection.close()
        self._connections.clear()


def _receive(connection: Connection) -> tuple[list[Any], bool]:
    """Return what a process has sent so far, and whether it can still send more."""
    messages = []
    try:
        while connection.poll():
            messages.append(connection.recv())
    except (EOFError, ConnectionError):
        return messages, False
    return messages, True


def _work(
    connection: Connection, function: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    """Run in the process: the function, with its errors sent as sentences."""
    # A terminal's Ctrl-C, or its end, reaches every process: only the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end_like_ctrl_c()
    end_with_parent()
    try:
        function(connection.send, *arguments)
        connection.send(_END)
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(1)  # asked to end, or the parent is gone: nobody to tell
    except Exception as error:
        text = explain(error)
        if text is None:
            traceback.print_exc()
            text = f"a worker met a defect of this program ({error!r}); its traceback is above"
        kind = type(error) if isinstance(error, PetsegError) else PetsegError
        connection.send(kind(text))


def end_with_parent(seconds: float = _GRACE_PERIOD) -> None:
    """Have this process end cleanly, within some time, when its parent is gone."""

    def wait_for_parent() -> None:
        if (parent := multiprocessing.parent_process()) is not None:
            wait([parent.sentinel])
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(seconds)
            os._exit(1)

    threading.Thread(target=wait_for_parent, daemon=True).start()


def _reason(process: SpawnProcess) -> str:
    code = process.exitcode or 0
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    return f"{name}, perhaps since memory ran out" if name == "SIGKILL" else name
