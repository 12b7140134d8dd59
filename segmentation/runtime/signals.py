"""What asks a program to end, and how that waits for a good moment."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

_SAME_REQUEST = 3.0  # seconds


def end_signals() -> list[signal.Signals]:
    """Return the signals that end a program as Ctrl-C does.

    A terminal that is closed sends SIGHUP; a program under `nohup` is to outlive that.
    """
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [signal.SIGTERM] if ignored else [signal.SIGTERM, signal.SIGHUP]


def end_like_ctrl_c() -> None:
    """Raise KeyboardInterrupt in this program's main thread on each of `end_signals`.

    Python drops one that it raises while it removes an object, which a database's driver does all
    the time. The signal then comes again.
    """
    for kind in end_signals():
        signal.signal(kind, signal.default_int_handler)
    before = sys.unraisablehook

    def raise_again(dropped: "sys.UnraisableHookArgs") -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            before(dropped)
            return
        while True:
            try:  # by a thread: raised here, it would be dropped, too
                threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGTERM)).start()
                return
            except KeyboardInterrupt:  # the thread was faster than this one
                continue

    sys.unraisablehook = raise_again


class StopSignal:
    """Notes the signals that ask this program to end: whether one was `requested`."""

    def __init__(self) -> None:
        self.requested = False
        self._kind, self._since = 0, 0.0

    @contextlib.contextmanager
    def defer(self) -> Iterator[None]:
        """Only note the first signal; a second one ends the program at once.

        In another thread than the main one, which hears no signals, it does nothing.

        What comes behind it in another way is no second one: after a Ctrl-C, which all programs of
        a terminal hear, MLflow's launcher sends SIGTERM to those that it has started.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        kinds = [signal.SIGINT, *end_signals()]
        before = {kind: signal.signal(kind, self._note) for kind in kinds}
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
