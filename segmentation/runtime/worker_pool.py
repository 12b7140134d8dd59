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

from segmentation.errors import (
    ConfigError,
    DataError,
    PetsegError,
    TrackingError,
    TrainingError,
    explain,
)
from segmentation.utils.environment import environment

_ERRORS: dict[str, type[PetsegError]] = {
    kind.__name__: kind for kind in (ConfigError, DataError, TrackingError, TrainingError)
}
_DEATHS = 10  # in a row, without a word in between
_GRACE = 30.0  # seconds to end in
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class WorkerPool:
    """Some processes that run one function until it returns."""

    def __init__(
        self, number: int, threads: int, function: Callable[..., None], *arguments: Any
    ) -> None:
        """Say what is to be run.

        Args:
            number: of processes at once.
            threads: of each process.
            function: called as `function(tell, *arguments)`; it and they must be picklable.
            *arguments: passed on.
        """
        self._number, self._threads = number, threads
        self._target = (function, arguments)
        self._living: dict[SpawnProcess, Connection] = {}
        self._returned: set[SpawnProcess] = set()

    def run(self, hear: Callable[[Any], None], on_death: Callable[[str], None]) -> None:
        """Run until every process has returned; those that die are replaced.

        Args:
            hear: called with what the processes tell.
            on_death: called with a clause when one has died.

        Raises:
            PetsegError: one of them ended with it, or they die again and again.
        """
        deaths = 0
        try:
            for _ in range(self._number):
                self._start()
            while self._living:
                ready = wait([*self._living.values(), *(p.sentinel for p in self._living)])
                for process, connection in list(self._living.items()):
                    if connection in ready or process.sentinel in ready:
                        heard, gone = self._drain(process, connection, hear)
                        deaths = 0 if heard else deaths
                        if gone:
                            deaths += 1
                            on_death(f"a worker died ({_how(process)}); another takes its place")
                            if deaths >= _DEATHS:
                                raise TrainingError(
                                    f"workers died {deaths} times in a row without finishing "
                                    f"anything, the last one by {_how(process)}; if the system's "
                                    "memory is full, lower `workers`, batch_size or width"
                                )
                            self._start()
        finally:
            self._end_all()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(theirs, *self._target))
        # Read by OpenMP, and so by PyTorch, when it is loaded: before the process has a say.
        with environment(dict.fromkeys(_THREADS, str(self._threads))):
            process.start()
        theirs.close()
        self._living[process] = ours

    def _drain(
        self, process: SpawnProcess, connection: Connection, hear: Callable[[Any], None]
    ) -> tuple[bool, bool]:
        """Take in what a process said; tell whether it said something and whether it died."""
        said, alive = _received(connection)
        heard = False
        for kind, message in said:
            if kind == "error":
                raise _ERRORS.get(message[0], PetsegError)(message[1])
            if kind == "end":
                self._returned.add(process)
            else:
                heard = True
                hear(message)
        if alive:
            return heard, False
        process.join()
        connection.close()
        del self._living[process]
        return heard, process not in self._returned

    def _end_all(self) -> None:
        """Ask all to end, and make them after a while."""
        for process in self._living:
            process.terminate()
        deadline = time.monotonic() + _GRACE
        for process, connection in self._living.items():
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
            connection.close()
        self._living.clear()


def _received(connection: Connection) -> tuple[list[tuple[str, Any]], bool]:
    """Return what a process has said so far, and whether it can still say more."""
    said = []
    try:
        while connection.poll():
            said.append(connection.recv())
    except (EOFError, ConnectionError):
        return said, False
    return said, True


def _work(
    connection: Connection, function: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    """Run in the process: the function, with its errors told as sentences."""
    # A terminal's Ctrl-C reaches every process: only the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        function(lambda message: connection.send(("message", message)), *arguments)
        connection.send(("end", None))
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(1)  # asked to end, or the parent is gone: nobody to tell
    except Exception as error:
        text = explain(error)
        if text is None:
            traceback.print_exc()
            text = f"a worker met a defect of this program ({error!r}); its traceback is above"
        connection.send(("error", (type(error).__name__, text)))


def _end_with_parent() -> None:
    """End this process cleanly when its parent is gone, however that ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE)
        os._exit(1)


def _how(process: SpawnProcess) -> str:
    code = process.exitcode or 0
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    return f"{name}, perhaps since memory ran out" if name == "SIGKILL" else name
