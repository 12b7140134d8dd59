"""Ctrl-C and SIGTERM that wait for a good moment."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Hears the signals that ask this program to end.

    Attributes:
        asked: whether one has come.
    """

    def __init__(self) -> None:
        """Hear nothing yet."""
        self.asked = False

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Only note the first signal; a second one ends the program at once. In the main thread."""
        before = {kind: signal.signal(kind, self._hear) for kind in _SIGNALS}
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def _hear(self, _kind: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
