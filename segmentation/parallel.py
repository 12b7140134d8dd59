"""Work on many files at once, with progress."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

#: Called with the number of things done and of all.
Progress = Callable[[int, int], None]

_Input = TypeVar("_Input")
_Output = TypeVar("_Output")


def in_parallel(
    function: Callable[[_Input], _Output], inputs: Sequence[_Input], progress: Progress
) -> list[_Output]:
    """Apply `function` to each input, by a thread a core; return the outputs in order."""
    outputs = []
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for output in pool.map(function, inputs):
            outputs.append(output)
            progress(len(outputs), len(inputs))
    return outputs
