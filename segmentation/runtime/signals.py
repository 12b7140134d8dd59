"""Ctrl-C and SIGTERM that wait for a good moment."""

import contextlib
import signal
import time
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SAME_REQUEST = 3.0  # seconds


class StopSignal:
    """Notes the signals that ask this program to end.

    Attributes:
        requested: whether one has come.
    """

    def __init__(self) -> None:
        self.requested = False
        self._kind, self._since = 0, 0.0

    @contextlib.contextmanager
    def defer(self) -> Iterator[None]:
        """Only note the first signal; a second one ends the program at once. In the main thread.

        What comes behind it in another way is no second one: after a Ctrl-C, which all programs of
        a terminal hear, MLflow's launcher sends SIGTERM to those that it has started.
        """
        before = {kind: signal.signal(kind, self._note) for kind in _SIGNALS}
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def _note(self, kind: int, _frame: FrameType | None) -> None:
        if self.requested and (
            kind == self._kind or time.monotonic() - self._since > _SAME_REQUEST
        ):
            raise KeyboardInterrupt
        if not self.requested:
            self.requested, self._kind, self._since = True, kind, time.monotonic()
