"""A checkpoint's file: arrays and plain facts, whole or not at all, read without any unpickling.

    {"format":1,"bytes":...,"sha256":"...","facts":"..."}     one line of JSON
    the arrays, as numpy's `savez` writes them                     so many bytes

The line comes first, so that a newer format can be told from damage, and the digest covers facts
and arrays, so that what was cut or flipped anywhere is never gone on from.
"""

import dataclasses
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.errors import CheckpointError
from segmentation.utils.files import atomic_write

FORMAT = 1
_LONGEST = 64 * 2**20  # bytes of the first line


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All that it takes to go on.

    Attributes:
        arrays: by name, of any shape and of any of numpy's plain types.
        facts: what JSON can hold.
    """

    arrays: Mapping[str, NDArray[Any]]
    metadata: Mapping[str, Any]


def write(path: Path, snapshot: Snapshot) -> None:
    """Put a checkpoint in the place of an older one, which stays whole until then.

    Raises:
        OSError: it cannot be written; the older one is still there.
    """
    arrays = io.BytesIO()
    np.savez(arrays, **snapshot.arrays)  # type: ignore[arg-type]  # no name of its own is passed
    facts = json.dumps(snapshot.metadata)
    line = json.dumps(
        {
            "format": FORMAT,
            "bytes": arrays.tell(),
            "sha256": _digest(facts, arrays.getbuffer()),
            "facts": facts,
        },
        separators=(",", ":"),  # no character of it is without a meaning
    )
    with atomic_write(path) as stream:
        stream.write(line.encode() + b"\n")
        stream.write(arrays.getbuffer())
        stream.flush()
        # Else a power cut could leave the new name with nothing behind it.
        os.fsync(stream.fileno())


def read(path: Path) -> Snapshot:
    """Read a checkpoint.

    Raises:
        CheckpointError: it is not there, damaged, or of a newer format; the message names it.
    """
    return parse(content_of(path), path)


def content_of(path: Path) -> bytes:
    """Return what a checkpoint's file holds, unread.

    Raises:
        CheckpointError: it is not there; the message names it.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error


def parse(content: bytes, path: Path) -> Snapshot:
    """Read what a checkpoint's file holds; `path` is its name in messages.

    Raises:
        CheckpointError: it is damaged, or of a newer format; the message names it.
    """
    end = content.find(b"\n", 0, _LONGEST) + 1
    head, rest = _head(content[:end]), memoryview(content)[end:]
    if head["format"] > FORMAT:
        raise CheckpointError(
            f"{path}: is a checkpoint of format {head['format']}, and this version reads format "
            f"{FORMAT}; go on with the version of Petseg that wrote it"
        )
    facts = str(head.get("facts"))
    if len(rest) != head.get("bytes") or _digest(facts, rest) != head.get("sha256"):
        raise CheckpointError(f"{path}: is damaged, or no checkpoint at all")
    try:
        with np.load(io.BytesIO(rest), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return Snapshot(arrays=arrays, metadata=json.loads(facts))
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: holds no arrays ({error})") from error


def _head(line: bytes) -> dict[str, Any]:
    """Return what the first line says; of what is no such line, format 0 and nothing else."""
    try:
        head = json.loads(line)
    except (ValueError, RecursionError):
        head = None
    if not isinstance(head, dict) or type(head.get("format")) is not int:
        return {"format": 0}
    return head


def _digest(facts: str, arrays: bytes | memoryview) -> str:
    digest = hashlib.sha256(facts.encode())
    digest.update(arrays)
    return digest.hexdigest()
