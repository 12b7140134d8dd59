"""What is to be logged, on disk until it has arrived: a folder of numbered entries.

A training must neither wait for a tracking server nor lose a figure when the server is away, or
when the process is killed. So an entry is first written here, which needs no network, and an
`Uploader` brings it to the store afterwards.
"""

import dataclasses
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

#: Files of an entry: their content by name, or a file or folder that is linked or copied.
Files = Mapping[str, bytes | Path]

_ENTRY = "entry.json"
_NEW = ".new-"
#: The folder of what the store has refused, each with its reason.
REJECTED = "refused"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing to log.

    Attributes:
        number: its place in the order.
        kind: one of those that `MlflowSink` knows.
        metadata: what JSON can hold.
        folder: holds its files.
    """

    number: int
    kind: str
    metadata: dict[str, Any]
    folder: Path


class Outbox:
    """The entries of one run, in order; those that a killed process has left are among them.

    Safe for two threads of one process, of which one puts and the other takes away. Two processes
    must not have it open at once: whoever opens it holds the run's lock.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for partial in [*folder.glob(f"{_NEW}*"), *folder.glob("[0-9]*")]:
            if partial.name.startswith(_NEW) or not (partial / _ENTRY).exists():
                shutil.rmtree(partial, ignore_errors=True)
        self._lock = threading.Lock()
        self._leased: set[int] = set()
        self._next = 1 + max((int(path.name) for path in folder.glob("[0-9]*")), default=0)

    def put(
        self,
        kind: str,
        metadata: Mapping[str, Any],
        files: Files | None = None,
        *,
        replace: bool = False,
    ) -> None:
        """Add an entry at the end: whole, or not at all.

        Args:
            kind: of the entry.
            metadata: what JSON can hold.
            files: of the entry.
            replace: whether it makes entries of its kind that still wait useless.

        Raises:
            OSError: it cannot be written.
        """
        stage = Path(tempfile.mkdtemp(prefix=_NEW, dir=self.folder))
        try:
            write_files(stage, files or {})
            (stage / _ENTRY).write_text(json.dumps({"kind": kind, "facts": dict(metadata)}))
            with self._lock:
                number, self._next = self._next, self._next + 1
                os.replace(stage, self.folder / f"{number:08d}")
        except BaseException:
            shutil.rmtree(stage, ignore_errors=True)
            raise
        for entry in self.pending() if replace else ():
            with self._lock:
                outdated = entry.kind == kind and entry.number < number
                if outdated and entry.number not in self._leased:
                    _remove(entry)

    def pending(self) -> list[Entry]:
        """Return all that waits, in order."""
        return entries_in(self.folder)

    def lease(self) -> list[Entry]:
        """Return all that waits; none of it is replaced until the next call of `ack`."""
        entries = self.pending()
        with self._lock:
            there = [entry for entry in entries if (entry.folder / _ENTRY).exists()]
            self._leased = {entry.number for entry in there}
        return there

    def ack(self, entries: list[Entry]) -> None:
        """Remove what has arrived, of what was leased."""
        with self._lock:
            for entry in entries:
                _remove(entry)
            self._leased = set()

    def reject(self, entry: Entry, reason: str) -> None:
        """Put an entry aside that the store will never take, so that the others go on."""
        (entry.folder / "reason.txt").write_text(reason + "\n")
        (self.folder / REJECTED).mkdir(exist_ok=True)
        os.replace(entry.folder, self.folder / REJECTED / entry.folder.name)
        self.ack([])

    def discard(self, unwanted: Callable[[Entry], bool]) -> None:
        """Remove entries that are not to be delivered any more, and what was put aside."""
        self.ack([entry for entry in self.pending() if unwanted(entry)])
        shutil.rmtree(self.folder / REJECTED, ignore_errors=True)

    def rejected(self) -> list[str]:
        """Return the reasons of what was put aside."""
        aside = sorted((self.folder / REJECTED).glob("*/reason.txt"))
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
        kind, metadata = content["kind"], content["facts"]
        found.append(Entry(number=int(path.name), kind=kind, metadata=metadata, folder=path))
    return found


def write_files(folder: Path, files: Files) -> None:
    """Write, link or copy files into a folder."""
    for name, content in files.items():
        target = folder / name
        if isinstance(content, bytes):
            target.write_bytes(content)
        elif content.is_dir():
            shutil.copytree(content, target)
        else:
            try:
                # A checkpoint is replaced by another file, never written to: a link keeps this one.
                os.link(content, target)
            except OSError:  # another file system, or one without links
                shutil.copyfile(content, target)


def _remove(entry: Entry) -> None:
    # Its metadata first: an entry without it counts as gone, wherever the removal is cut short.
    (entry.folder / _ENTRY).unlink(missing_ok=True)
    shutil.rmtree(entry.folder, ignore_errors=True)
