"""What is to be logged, on disk until it has arrived: a folder of numbered entries.

A training must neither wait for a tracking server nor lose a figure when the server is away, or
when the process is killed. So an entry is first written here, which needs no network, and an
`Uploader` brings it to the store afterwards.
"""

import dataclasses
import json
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

#: Files of an entry: their content by name, or a file or folder that is copied.
Files = Mapping[str, bytes | Path]

_ENTRY = "entry.json"
_NEW = ".new-"
#: The folder of what the store has refused, each with its reason.
REJECTED = "refused"


class RefusedError(Exception):
    """The store has answered, and will never take the entry; the message is its reason."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing to log, of a kind that `MlflowSink` knows; its files lie in `folder`."""

    number: int
    kind: str
    metadata: dict[str, Any]
    folder: Path


class Outbox:
    """The entries of one run, in order; those that a killed process has left are among them.

    Threads of one process may put at once, while another one takes away. Two processes must not
    have it open at once: whoever opens it holds the run's lock.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for partial in [*folder.glob(f"{_NEW}*"), *folder.glob("[0-9]*")]:
            if partial.name.startswith(_NEW) or not (partial / _ENTRY).exists():
                shutil.rmtree(partial, ignore_errors=True)
        self._lock = threading.Lock()
        self._next = 1 + max((int(path.name) for path in folder.glob("[0-9]*")), default=0)

    def put(self, kind: str, metadata: Mapping[str, Any], files: Files | None = None) -> None:
        """Add an entry at the end: whole, or not at all. JSON can hold its metadata."""
        stage = self.folder / f"{_NEW}{uuid.uuid4().hex}"
        stage.mkdir()
        try:
            write_files(stage, files or {})
            (stage / _ENTRY).write_text(json.dumps({"kind": kind, "facts": dict(metadata)}))
            with self._lock:
                os.replace(stage, self.folder / f"{self._next:08d}")
                self._next += 1
        except BaseException:
            shutil.rmtree(stage, ignore_errors=True)
            raise

    def pending(self) -> list[Entry]:
        """Return all that waits, in order."""
        return entries_in(self.folder)

    def ack(self, entries: list[Entry]) -> None:
        """Remove what has arrived."""
        for entry in entries:
            # Its metadata first: an entry without it counts as gone, wherever this is cut short.
            (entry.folder / _ENTRY).unlink(missing_ok=True)
            shutil.rmtree(entry.folder, ignore_errors=True)

    def reject(self, entry: Entry, reason: str) -> None:
        """Put an entry aside that the store will never take, so that the others go on."""
        (entry.folder / "reason.txt").write_text(reason + "\n")
        (self.folder / REJECTED).mkdir(exist_ok=True)
        os.replace(entry.folder, self.folder / REJECTED / entry.folder.name)

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
    for name, content in files.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        elif content.is_dir():
            shutil.copytree(content, folder / name)
        else:
            shutil.copyfile(content, folder / name)
