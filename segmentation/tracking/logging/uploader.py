"""Brings what is to be tracked to the store, in the background and for as long as it takes."""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Protocol

from segmentation.tracking.logging.outbox import Entry, Outbox

# Seconds between two rounds: each call that writes costs about as much as a training step.
_RHYTHM = 4.0
# Seconds between two tries while the store does not answer: the first, and the longest.
_FIRST, _LONGEST = 1.0, 8.0


class RefusedError(Exception):
    """The store has answered, and will never take the entry; the message is its reason."""


class Delivery(Protocol):
    """Knows how entries reach the store."""

    def write(self, entries: list[Entry]) -> list[Entry]:
        """Bring the first entry, or the first few, to the store; return those.

        Raises:
            RefusedError: it will never take the first one.
            Exception: it cannot be reached now, or it is not known whether that arrived.
        """

    def invalidate(self) -> None:
        """Hear that nobody knows what of the last entries has arrived."""


class Uploader:
    """A thread that empties an outbox.

    Attributes:
        busy: seconds of a processor that it has taken.
    """

    def __init__(
        self, outbox: Outbox, delivery: Delivery, say: Callable[[str], None] = lambda line: None
    ) -> None:
        """Begin.

        Args:
            outbox: what is to be brought.
            delivery: how.
            say: told when the store does not answer, and when it does again.
        """
        self._outbox, self._delivery, self._say = outbox, delivery, say
        self._wake, self._closing, self._stop = (threading.Event() for _ in range(3))
        self._trouble: tuple[float, str] | None = None  # since when, by the clock, and what
        self.busy = 0.0
        # Not joined where the program ends: a call that hangs holds nobody up.
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str:
        """What kept the last try from arriving; empty where nothing did."""
        trouble = self._trouble
        return trouble[1] if trouble else ""

    @property
    def alive(self) -> bool:
        """Whether it still works."""
        return self._thread.is_alive()

    def finish(self, patience: float) -> bool:
        """Bring all that is left; return whether all has arrived.

        Args:
            patience: for so many seconds a store that does not answer is waited for.
        """
        began = time.monotonic()
        self._closing.set()
        self._wake.set()
        while self._thread.is_alive():
            self._thread.join(0.02)
            trouble = self._trouble  # once: the other thread may forget it meanwhile
            since = max(began, trouble[0]) if trouble else time.monotonic()
            if time.monotonic() - since > patience:
                break
        self._stop.set()
        self._wake.set()
        return not self._outbox.pending()

    def _run(self) -> None:
        pause = _FIRST
        while not self._stop.is_set():
            arrived = self._round()
            self.busy = time.thread_time()
            if arrived and self._closing.is_set() and not self._outbox.pending():
                return
            if arrived:
                pause = _FIRST
            if not self._closing.is_set():
                self._wake.wait(_RHYTHM if arrived else pause)
            elif not arrived:
                self._stop.wait(min(pause, _FIRST))
            self._wake.clear()
            if not arrived:
                pause = min(2 * pause, _LONGEST)

    def _round(self) -> bool:
        """Bring all that waits; return whether it has arrived."""
        try:
            while not self._stop.is_set():
                entries = self._outbox.lease(self._outbox.pending())
                if not entries:
                    return True
                self._bring(entries)
        except Exception as error:  # whatever it is, what waits is kept
            self._outbox.lease([])
            self._delivery.invalidate()
            self._note(error)
        return False

    def _bring(self, entries: list[Entry]) -> None:
        try:
            taken = self._delivery.write(entries)
        except RefusedError as refused:
            self._delivery.invalidate()
            self._outbox.reject(entries[0], str(refused))
        else:
            self._outbox.ack(taken)
        self._relieve()

    def _note(self, error: Exception) -> None:
        reason = next(iter(str(error).splitlines()), "")[:300] or type(error).__name__
        if self._trouble is None:
            self._trouble = time.monotonic(), reason
            self._tell(
                f"Tracking: the store does not take what is written ({reason}); training goes on, "
                f"and what is to be tracked waits in {self._outbox.folder}"
            )
        self._trouble = self._trouble[0], reason

    def _relieve(self) -> None:
        if self._trouble is not None:
            lasted = time.monotonic() - self._trouble[0]
            self._trouble = None
            self._tell(f"Tracking: the store answers again, after {lasted:.0f} s")

    def _tell(self, line: str) -> None:
        with contextlib.suppress(OSError):  # nobody may be listening any more
            self._say(line)
