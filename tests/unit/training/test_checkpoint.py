"""A checkpoint's file: what was saved comes back; what is damaged or another's is refused."""

from pathlib import Path

import pytest
import torch

from segmentation.errors import CheckpointError
from segmentation.training import checkpoint

CONTENT = {
    "tensor": torch.arange(24.0).view(2, 3, 2, 2).to(memory_format=torch.channels_last),
    "none": torch.zeros(0, 4, dtype=torch.int64),
    "state": {"dice": 0.1 + 0.2, "worst": float("-inf"), "deep": {1: [b"\x89PNG", None, True]}},
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    checkpoint.save(tmp_path / "checkpoint", CONTENT)
    return tmp_path / "checkpoint"


def require_whole(found: dict[str, object]) -> None:
    assert found["state"] == CONTENT["state"]
    for name in ("tensor", "none"):
        tensor, expected = found[name], CONTENT[name]
        assert isinstance(tensor, torch.Tensor)
        assert isinstance(expected, torch.Tensor)
        assert torch.equal(tensor, expected)
        assert (tensor.dtype, tensor.stride()) == (expected.dtype, expected.stride())


def test_what_is_saved_comes_back_to_the_last_bit_laid_out_alike(path: Path) -> None:
    require_whole(checkpoint.load(path))


def test_wherever_a_bit_flips_or_the_file_ends_it_is_whole_or_refused_by_name(path: Path) -> None:
    content, refused, messages = path.read_bytes(), 0, set[str]()
    wrong = [b"", b"PK\x03\x04", b"\x80\x04K\x01.", b"[" * 100_000, b'{"format":1,"bytes":1}\n']
    for position in range(0, len(content), 23):
        flipped = bytearray(content)
        flipped[position] ^= 4
        wrong += [bytes(flipped), content[:position], content[:position] + content[position + 1 :]]
    for damaged in wrong:
        try:
            found = checkpoint.parse(damaged, "NAME")
        except CheckpointError as error:
            messages.add(str(error))
            refused += 1
        else:  # between the file's parts are bytes that mean nothing
            require_whole(found)
    (message,) = messages
    assert message.startswith("NAME: is damaged, or no checkpoint of this version's; remove it")
    assert refused > len(content) / 23


def test_a_checkpoint_of_another_training_is_refused_with_what_differs() -> None:
    own: dict[str, object] = {"model.width": 4, "training.lr": 0.01}
    checkpoint.require_same({"fingerprint": own, "path": "kept"}, own)
    expected = "^kept: is of another training: model.width 4 there, 8 here; go on with its own"
    with pytest.raises(CheckpointError, match=expected):
        checkpoint.require_same({"fingerprint": own, "path": "kept"}, {**own, "model.width": 8})


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (self.path,))


def test_no_code_is_run(path: Path) -> None:
    checkpoint.save(path, {"trap": Trap(path.with_name("trapped"))})
    with pytest.raises(CheckpointError, match="is damaged"):
        checkpoint.load(path)
    assert not path.with_name("trapped").exists()


def test_an_older_one_stays_whole_where_a_new_one_cannot_be_written(path: Path) -> None:
    with pytest.raises((AttributeError, TypeError), match="pickle"):
        checkpoint.save(path, {"no such thing": lambda: 0})
    require_whole(checkpoint.load(path))
    assert [file.name for file in path.parent.iterdir()] == ["checkpoint"]
