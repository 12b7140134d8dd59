"""A checkpoint's file: what `torch.save` writes, whole or not at all, read without running code."""

import io
import os
import random
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segmentation.errors import CheckpointError
from segmentation.utils.files import atomic_write

#: What `load` returns, for `fit`.
Checkpoint = Mapping[str, Any]

FORMAT = 2
_FORMAT_1 = b'{"format":1'  # so began the files before


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
    if content.startswith(_FORMAT_1):
        raise CheckpointError(_other_format(name, 1))
    try:
        # torch.load does not look at the parts' checksums: a flipped bit would pass.
        damaged = zipfile.ZipFile(io.BytesIO(content)).testzip()
        found = {} if damaged else _load(content)
        version = int(found["format"])
    except Exception as error:  # what is no checkpoint makes them raise anything
        raise CheckpointError(
            f"{name}: is damaged, or no checkpoint at all; remove it to go on from an older copy, "
            "or from the beginning"
        ) from error
    if version != FORMAT:
        raise CheckpointError(_other_format(name, version))
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


def random_state() -> dict[str, Any]:
    """Return the state of the generators of Python, numpy and PyTorch, of each GPU too."""
    state: Any = np.random.get_state()
    name, keys, *rest = state
    return {
        "python": random.getstate(),
        "numpy": (name, keys.tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all(),
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Let all generators go on from there; GPUs that are not here are left out."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    for number, one in enumerate(state["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(one, number)


def _load(content: bytes) -> Any:
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _other_format(name: str, version: int) -> str:
    return (
        f"{name}: is a checkpoint of format {version}, and this version reads format {FORMAT}; go "
        "on with the version of Petseg that wrote it, or train anew"
    )
