"""A checkpoint's file: what was written comes back; what is damaged or newer is refused by name."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from segmentation.errors import CheckpointError
from segmentation.training import checkpoint
from segmentation.training.checkpoint import FORMAT, Snapshot

SNAPSHOT = Snapshot(
    arrays={
        "a/b.c": np.arange(6, dtype=np.float32).reshape(2, 3),
        "nothing": np.zeros((0, 4), np.int64),
        "number": np.array(7, np.uint8),
    },
    metadata={"dice": 0.1 + 0.2, "worst": float("-inf"), "deep": {"list": [1, "zwei", None, True]}},
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    checkpoint.write(tmp_path / "checkpoint", SNAPSHOT)
    return tmp_path / "checkpoint"


def test_what_is_written_comes_back_to_the_last_bit(path: Path) -> None:
    found = checkpoint.read(path)
    assert found.metadata == SNAPSHOT.metadata
    assert set(found.arrays) == set(SNAPSHOT.arrays)
    for name, values in SNAPSHOT.arrays.items():
        assert found.arrays[name].dtype == values.dtype
        np.testing.assert_array_equal(found.arrays[name], values)


def test_wherever_a_bit_flips_or_the_file_ends_it_is_refused_by_name(path: Path) -> None:
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        flipped = bytearray(whole)
        flipped[position] ^= 4
        for content in (bytes(flipped), whole[:position], whole[:position] + whole[position + 1 :]):
            path.write_bytes(content)
            with pytest.raises(CheckpointError, match=re.escape(str(path))):
                checkpoint.read(path)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"{}\n", b"[1]\n", b"null\n", b"\x80\x04K\x01.", b"[" * 100_000]
)
def test_what_is_no_checkpoint_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged, or no checkpoint at all"):
        checkpoint.read(path)


def test_a_newer_format_is_refused_with_what_to_do(path: Path) -> None:
    path.write_bytes(json.dumps({"format": FORMAT + 1, "whatever": 1}).encode() + b"\nmore")
    with pytest.raises(CheckpointError, match=r"of format 2, .*go on with the version"):
        checkpoint.read(path)


def test_nothing_is_unpickled(path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (path.with_name("trapped"),))  # type: ignore[return-value]

    stream = io.BytesIO()
    np.savez(stream, trap=np.array([Trap()], dtype=object))
    head = {
        "format": FORMAT,
        "bytes": stream.tell(),
        "sha256": checkpoint._digest("{}", stream.getvalue()),
        "facts": "{}",
    }
    path.write_bytes(json.dumps(head).encode() + b"\n" + stream.getvalue())
    with pytest.raises(CheckpointError, match="holds no arrays"):
        checkpoint.read(path)
    assert not path.with_name("trapped").exists()


def test_an_older_one_stays_whole_where_a_new_one_cannot_be_written(path: Path) -> None:
    before = path.read_bytes()
    broken = Snapshot(arrays={}, metadata={"no JSON": object()})
    with pytest.raises(TypeError):
        checkpoint.write(path, broken)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["checkpoint"]
