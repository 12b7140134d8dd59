"""A checkpoint's file: what `torch.save` writes, whole or not at all, read without running code."""

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from segmentation.errors import CheckpointError
from segmentation.utils.files import atomic_write

#: What `load` returns, for `fit`.
Checkpoint = Mapping[str, Any]

FORMAT = 2


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Put a checkpoint in the place of an older one, which stays whole until then.

    Raises:
        OSError: it cannot be written; the older one is still there.
    """
    with atomic_write(path) as stream:
        torch.save({**content, "format": FORMAT}, stream)
        stream.flush()
        # Else a power cut could leave the new name with nothing behind it.
        os.fsync(stream.fileno())


def load(path: Path) -> dict[str, Any]:
    """Return what `save` was given.

    Raises:
        CheckpointError: it is not there, damaged, or of another format; the message names it.
    """
    try:
        return parse(path.read_bytes(), str(path))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error


def parse(content: bytes, name: str) -> dict[str, Any]:
    """Return what a file's content holds; `name` is the file's in messages.

    Raises:
        CheckpointError: it is damaged, or of another format.
    """
    try:
        # torch.load does not look at the parts' checksums: a flipped bit would pass.
        damaged = zipfile.ZipFile(io.BytesIO(content)).testzip()
        found = {} if damaged else torch.load(io.BytesIO(content), "cpu", weights_only=True)
        if found["format"] != FORMAT:
            raise ValueError(found["format"])
    except Exception as error:  # what is no checkpoint makes them raise anything
        raise CheckpointError(
            f"{name}: is damaged, or no checkpoint of this version's; remove it to go on from an "
            "older copy, or from the beginning, or go on with the version of Petseg that wrote it"
        ) from error
    return {**found, "path": name}


def load_matching(path: Path, fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """Load a checkpoint that is of this very training.

    Args:
        path: of the file.
        fingerprint: what must be equal for a checkpoint to be of this training, by its name.

    Raises:
        CheckpointError: it is damaged, of another format, or of another training.
    """
    checkpoint = load(path)
    saved = checkpoint["fingerprint"]
    differing = [
        f"{name} {saved.get(name)!r} there, {fingerprint.get(name)!r} here"
        for name in {**saved, **fingerprint}
        if saved.get(name) != fingerprint.get(name)
    ]
    if differing:
        raise CheckpointError(
            f"{path}: is of another training: {'; '.join(differing)}; go on with its own data and "
            "settings, or train anew"
        )
    return checkpoint
