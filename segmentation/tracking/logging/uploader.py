"""Brings what waits in an outbox to the store, in the background and for as long as it takes."""

import logging
import threading
import time

from segmentation.errors import TrackingError, first_line
from segmentation.tracking.logging.mlflow_sink import MlflowSink
from segmentation.tracking.logging.outbox import REJECTED, Entry, Outbox, RefusedError

_log = logging.getLogger(__name__)

# Seconds between two rounds: each call that writes costs about as much as a training step.
_INTERVAL = 4.0
# Seconds between two tries while the store does not answer.
_PAUSE = 1.0


class Uploader:
    """A thread that empties an outbox.

    An entry is removed once the store has confirmed it. Where that confirmation is lost, by a
    failure of the network or a kill, the entry is written again, and the sink first looks whether
    it is there: so each arrives exactly once. `trouble` says what kept the last try from arriving.
    """

    def __init__(self, outbox: Outbox, sink: MlflowSink) -> None:
        self._outbox, self._sink = outbox, sink
        self.trouble, self._since = "", 0.0
        self._start()

    def _start(self) -> None:
        self._closing, self._stop = threading.Event(), threading.Event()
        # Not joined where the program ends: a call that hangs holds nobody up.
        self._thread = threading.Thread(target=self._run, name="uploader", daemon=True)
        self._thread.start()

    def finish(self, patience: float) -> bool:
        """Bring all that is left; return whether all has arrived. May be called again.

        A store that does not answer is waited for `patience` seconds. A TrackingError says that it
        has refused something for good.
        """
        if not self._thread.is_alive():
            self._start()
        began = time.monotonic()
        self._closing.set()
        while self._thread.is_alive():
            self._thread.join(0.02)
            if self.trouble and time.monotonic() - max(began, self._since) > patience:
                break
        self._stop.set()
        if refused := self._outbox.rejected():
            raise TrackingError(
                f"the tracking store has refused {len(refused)} entries, which lie in "
                f"{self._outbox.folder / REJECTED}: {refused[0][:300]}"
            )
        return not self._outbox.pending()

    def _run(self) -> None:
        while not self._stop.is_set():
            closing = self._closing.is_set()  # looked at first: nothing is put afterwards
            if not self._upload_all():
                self._stop.wait(_PAUSE)
            elif closing:
                return
            else:
                self._closing.wait(_INTERVAL)

    def _upload_all(self) -> bool:
        """Bring all that waits; return whether it has arrived."""
        try:
            while not self._stop.is_set():
                entries = self._outbox.pending()
                if not entries:
                    return True
                self._upload(entries)
        except Exception as error:  # whatever it is, what waits is kept
            self._sink.invalidate()
            self._note_trouble(error)
        return False

    def _upload(self, entries: list[Entry]) -> None:
        try:
            written = self._sink.write(entries)
        except RefusedError as refused:
            self._sink.invalidate()
            self._outbox.reject(entries[0], str(refused))
        else:
            self._outbox.ack(written)
        if self.trouble:
            self.trouble = ""
            lasted = time.monotonic() - self._since
            _log.info("Tracking: the store answers again, after %.0f s", lasted)

    def _note_trouble(self, error: Exception) -> None:
        reason = first_line(error)[:300]
        if not self.trouble:
            self._since = time.monotonic()
            _log.info(
                "Tracking: the store does not take what is written (%s); training goes on, and "
                "what is to be tracked waits in %s",
                reason,
                self._outbox.folder,
            )
        self.trouble = reason
