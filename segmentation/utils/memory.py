"""What the C library does with memory that is freed, where it is GNU's; see mallopt(3)."""

import contextlib
import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_LARGE = 32 * 2**20  # bytes: what the library comes to by itself


def keep_memory() -> None:
    """Keep it: a step's tensors have the sizes of those of the step before.

    Memory given back and fetched anew costs a page fault for every 4 KiB.
    """
    _set({_MMAP_MAX: 0, _TRIM_THRESHOLD: -1})


def give_memory_back() -> None:
    """Give it back to the system, now and from now on: this process does other things, too."""
    _set({_MMAP_MAX: 2**16, _MMAP_THRESHOLD: _LARGE, _TRIM_THRESHOLD: 2 * _LARGE})
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _set(values: dict[int, int]) -> None:
    with contextlib.suppress(AttributeError):  # another C library
        for kind, value in values.items():
            ctypes.CDLL(None).mallopt(kind, value)
