"""Work on many files at once, with progress, and beside other work."""

import contextlib
import itertools
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from segmentation.errors import ConfigError
from segmentation.utils.environment import in_notebook

#: Called with the number of things done and of all.
Progress = Callable[[int, int], None]

#: The processors that this process may use.
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

#: Seconds between lines of a long work's progress: a tenth of what has passed, within these.
_PERIODS = (10.0, 60.0)
_log = logging.getLogger(__name__)

_Input = TypeVar("_Input")
_Output = TypeVar("_Output")


def require_processors(parameter: str, processes: int) -> None:
    """Raise a ConfigError unless there is a processor for each process that computes."""
    if processes > CORES:
        raise ConfigError(f"{parameter}={processes}: there are {CORES} processors; start fewer")


class ProgressBar:
    """Shows how far a long work is: a bar in a notebook or on a terminal, some lines in a log."""

    _open: "ProgressBar | None" = None

    def __init__(self, label: str) -> None:
        self._label = label
        self._bar: Any = None
        self._begun = time.monotonic()
        self._first, self._due = (0, self._begun), 0.0

    def __call__(self, done: int, total: int, extra: str = "") -> None:
        """Show that `done` of `total` is done; `extra` stands behind it."""
        if in_notebook() or (sys.stdout.isatty() and sys.stderr.isatty()):
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
            _log.info("  ".join(part for part in parts if part))
            if done == total:  # the same may be done once more
                self._begun, self._due = now, 0.0

    def _draw(self, done: int, total: int, extra: str) -> None:
        if self._bar is None:
            from tqdm.auto import tqdm

            self._bar, ProgressBar._open = tqdm(total=total, desc=self._label), self
        self._bar.total = total  # a budget may change it
        self._bar.set_postfix_str(extra, refresh=False)
        self._bar.update(done - self._bar.n)
        if done == total:
            self.close()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar, ProgressBar._open = None, None

    @classmethod
    def close_open(cls) -> None:
        """Close the bar that an error has left open, if any."""
        if cls._open is not None:
            cls._open.close()


def ignore_progress(done: int, total: int) -> None:
    pass


def in_parallel(
    function: Callable[[_Input], _Output], inputs: Sequence[_Input], progress: Progress
) -> list[_Output]:
    """Apply `function` to each input, by a thread a core; return the outputs in order."""
    outputs: list[_Output] = []
    for output in prefetch(function, inputs, CORES):
        outputs.append(output)
        progress(len(outputs), len(inputs))
    return outputs


def prefetch(
    function: Callable[[_Input], _Output],
    inputs: Iterable[_Input],
    workers: int,
    initializer: Callable[[], object] | None = None,
) -> Iterator[_Output]:
    """Apply `function` to each input in threads, a few ahead; yield the outputs in order.

    The inputs are taken in the caller's thread while others work. No more than two besides one a
    worker are under way at once, so memory does not grow with their number. `initializer` is called
    once in each thread.
    """
    pool = ThreadPoolExecutor(workers, initializer=initializer)
    waiting: deque[Future[_Output]] = deque()
    try:
        for one in inputs:
            waiting.append(pool.submit(function, one))
            if len(waiting) >= workers + 2:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # also where the consumer stops early, or an input or an output raises
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def repeating(work: Callable[[], object], seconds: float) -> Iterator[None]:
    """Do something every so many seconds meanwhile, in a thread; what fails may succeed next time.

    A call that hangs at the end is not waited for, but for a second.
    """
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(seconds):
            with contextlib.suppress(Exception):
                work()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(1)


def batched(inputs: Iterable[_Input], size: int) -> Iterator[list[_Input]]:
    """Yield lists of `size` inputs, the last one shorter."""
    rest = iter(inputs)
    while batch := list(itertools.islice(rest, size)):
        yield batch
