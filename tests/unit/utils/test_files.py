"""Files and folders that appear whole, with the permissions that their user wants."""

import os
from pathlib import Path

import pytest

from segmentation.tracking.logging.outbox import Outbox
from segmentation.utils.files import atomic_dir, atomic_write


@pytest.mark.parametrize("mask", [0o077, 0o002])
def test_the_umask_says_who_may_read(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        with atomic_dir(tmp_path / "folder") as folder, atomic_write(folder / "file") as stream:
            stream.write(b"content")
        Outbox(tmp_path / "outbox").put("file", {"path": "a"}, {"a": b"content"})
    finally:
        os.umask(before)
    assert (tmp_path / "folder" / "file").read_bytes() == b"content"
    for path in tmp_path.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o777 if path.is_dir() else 0o666) & ~mask, path
