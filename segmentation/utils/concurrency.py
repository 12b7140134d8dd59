"""Work on many files at once, with progress."""

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from segmentation.errors import ConfigError

#: Called with the number of things done and of all.
Progress = Callable[[int, int], None]

#: The processors that this process may use.
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

_Input = TypeVar("_Input")
_Output = TypeVar("_Output")


def require_processors(parameter: str, processes: int) -> None:
    """Raise a ConfigError unless there is a processor for each process that computes."""
    if processes > CORES:
        raise ConfigError(f"{parameter}={processes}: there are {CORES} processors; start fewer")


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


def batched(inputs: Iterable[_Input], size: int) -> Iterator[list[_Input]]:
    """Yield lists of `size` inputs, the last one shorter."""
    rest = iter(inputs)
    while batch := list(itertools.islice(rest, size)):
        yield batch
