"""What is to be tracked, on disk until it has arrived: a folder of numbered entries."""

import dataclasses
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_ENTRY = "entry.json"
_NEW = ".new-"
#: Holds what the tracking store has refused, with its reason.
REFUSED = "refused"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing that is to be tracked.

    Attributes:
        number: its place in the order.
        kind: what it is.
        facts: what JSON can hold.
        folder: holds its files.
    """

    number: int
    kind: str
    metadata: dict[str, Any]
    folder: Path


class Outbox:
    """The entries of one run, in their order; what a killed process has left is among them.

    Safe for two threads of one process. Processes keep away from one another by a lock of their
    own.
    """

    def __init__(self, folder: Path) -> None:
        """Open it, making it where it is new.

        Raises:
            OSError: the folder cannot be written.
        """
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for half in [*folder.glob(f"{_NEW}*"), *folder.glob("[0-9]*")]:
            if half.name.startswith(_NEW) or not (half / _ENTRY).exists():
                shutil.rmtree(half, ignore_errors=True)
        self._lock = threading.Lock()
        self._in_hand: set[int] = set()
        self._next = 1 + max((int(path.name) for path in folder.glob("[0-9]*")), default=0)

    def put(
        self,
        kind: str,
        facts: Mapping[str, Any],
        files: Mapping[str, bytes | Path] | None = None,
        *,
        instead: bool = False,
    ) -> None:
        """Add an entry at the end: whole, or not at all.

        Args:
            kind: what it is.
            facts: what JSON can hold.
            files: content by name, or a file or folder, which is linked or copied.
            instead: whether entries of the same kind that wait are of no use any more.

        Raises:
            OSError: it cannot be written.
        """
        stage = Path(tempfile.mkdtemp(prefix=_NEW, dir=self.folder))
        try:
            for name, content in (files or {}).items():
                _lay(stage / name, content)
            (stage / _ENTRY).write_text(json.dumps({"kind": kind, "facts": dict(facts)}))
            with self._lock:
                number, self._next = self._next, self._next + 1
                os.replace(stage, self.folder / f"{number:08d}")
        except BaseException:
            shutil.rmtree(stage, ignore_errors=True)
            raise
        if instead:
            for entry in self.pending():
                if entry.kind == kind and entry.number < number:
                    with self._lock:
                        if entry.number not in self._in_hand:
                            _remove(entry)

    def pending(self) -> list[Entry]:
        """Return all that waits, in order."""
        return entries_in(self.folder)

    def lease(self, entries: list[Entry]) -> list[Entry]:
        """Take entries in hand, so that none is removed meanwhile; return those still there."""
        with self._lock:
            there = [entry for entry in entries if (entry.folder / _ENTRY).exists()]
            self._in_hand = {entry.number for entry in there}
        return there

    def ack(self, entries: list[Entry]) -> None:
        """Remove what has arrived."""
        with self._lock:
            for entry in entries:
                _remove(entry)
            self._in_hand = set()

    def reject(self, entry: Entry, reason: str) -> None:
        """Put an entry aside that the store will never take, so that the others go on."""
        with self._lock:
            (entry.folder / "reason.txt").write_text(reason + "\n")
            aside = self.folder / REFUSED
            aside.mkdir(exist_ok=True)
            os.replace(entry.folder, aside / entry.folder.name)
            self._in_hand = set()

    def discard(self, unwanted: Callable[[Entry], bool]) -> None:
        """Remove entries that are not to be delivered any more, and what was put aside."""
        self.ack([entry for entry in self.pending() if unwanted(entry)])
        shutil.rmtree(self.folder / REFUSED, ignore_errors=True)

    def rejected(self) -> list[str]:
        """Return the reasons of what was put aside."""
        aside = sorted((self.folder / REFUSED).glob("*/reason.txt"))
        return [path.read_text().strip() for path in aside]


def entries_in(folder: Path) -> list[Entry]:
    """Return what waits in an outbox, in order, whoever writes it."""
    found = []
    for path in sorted(folder.glob("[0-9]*")):
        try:
            content = json.loads((path / _ENTRY).read_text())
        except FileNotFoundError:  # it is being removed, or was when its process was killed
            continue
        except ValueError:  # a power cut
            content = {"kind": "damaged", "facts": {}}
        found.append(
            Entry(
                number=int(path.name), kind=content["kind"], metadata=content["facts"], folder=path
            )
        )
    return found


def _lay(target: Path, content: bytes | Path) -> None:
    """Write a file, or link or copy one, or copy a folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        target.write_bytes(content)
    elif content.is_dir():
        shutil.copytree(content, target)
    else:
        try:
            # Whoever replaces the file puts another in its place: what is linked stays as it is.
            os.link(content, target)
        except OSError:  # another file system, or one without links
            shutil.copyfile(content, target)


def _remove(entry: Entry) -> None:
    # The facts first: what is left without them counts as gone.
    (entry.folder / _ENTRY).unlink(missing_ok=True)
    shutil.rmtree(entry.folder, ignore_errors=True)
