"""`fit`, stopped after any step and gone on with: the same to the last bit."""

from pathlib import Path
from typing import Any

import pytest
import torch

from segmentation.errors import CheckpointError
from segmentation.models.unet import UNet
from segmentation.runtime.signals import StopSignal
from segmentation.training import checkpoint
from segmentation.training.callbacks import Callback
from segmentation.training.checkpointer import Checkpointer
from segmentation.training.loop import fit
from segmentation.training.state import TrainingState
from segmentation.training.trainer import Trainer
from tests.helpers.quick import Data, Recorder, figures, quick_trainer
from tests.unit.data.test_loader import loaded

LOOKS = 4  # an epoch's: after each of three steps (12 images by 4), and after the epoch


class Stopping(Checkpointer):
    """Keeps a training as the program does, and stops it when it looks for the nth time."""

    def __init__(self, path: Path, looks: int = 0) -> None:
        super().__init__(path, {}, StopSignal())
        self._looks = looks

    def on_step_end(self, trainer: Trainer) -> None:
        self._looks -= 1
        self.stop_signal.requested = self._looks == 0
        super().on_step_end(trainer)


class Memory(Callback):
    """A callback that has something to remember."""

    def __init__(self) -> None:
        self.steps = 0

    def on_step_end(self, trainer: Trainer) -> None:
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "picture": b"\x89PNG"}

    def load_state_dict(self, state: Any) -> None:
        assert state["picture"] == b"\x89PNG"
        self.steps = state["steps"]


@pytest.fixture(scope="module")
def data(pets: Path) -> Data:
    return loaded(pets)


def train(
    data: Data, keeper: Stopping | None, *others: Callback, **changes: object
) -> tuple[dict[str, torch.Tensor], TrainingState]:
    """Train to the end or to where it is stopped; return the weights and how it went."""
    callbacks = (*others, keeper) if keeper else others
    torch.manual_seed(3)
    network = UNet(width=4, depth=3)
    trainer = quick_trainer(data, *callbacks, network=network, **{"epochs": 3, **changes})
    saved = checkpoint.load(keeper.path) if keeper and keeper.path.exists() else None
    state = fit(trainer, saved)
    return network.state_dict(), state


def stop(data: Data, path: Path, looks: int, *others: Callback, **changes: object) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(data, Stopping(path, looks), *others, **changes)


def require_same(
    one: tuple[dict[str, torch.Tensor], TrainingState],
    other: tuple[dict[str, torch.Tensor], TrainingState],
) -> None:
    assert figures(one[1].history) == figures(other[1].history)
    for name in ("best_epoch", "best_dice", "epoch", "stop_reason"):
        assert getattr(one[1], name) == getattr(other[1], name)
    for name, tensor in one[0].items():
        assert torch.equal(tensor, other[0][name]), name


@pytest.mark.parametrize(
    ("changes", "moments"),
    [
        ({}, range(1, 3 * LOOKS + 1)),
        ({"ema": 0.0, "loss": "bce+dice", "precision": "bf16"}, [2, 6]),
        # Twelve steps an epoch: before and behind the eighth, after which the average is updated.
        ({"batch_size": 1, "ema": 0.98, "resizing": "fixed"}, [7, 8, 13 + 9, 2 * 13 + 12]),
    ],
    ids=["fp32", "bf16 without average", "many steps"],
)
def test_a_training_stopped_after_any_step_ends_as_one_that_never_was(
    data: Data, tmp_path: Path, changes: dict[str, object], moments: list[int]
) -> None:
    whole = train(data, None, **changes)
    looks = 13 if "batch_size" in changes else LOOKS
    for moment in moments:
        path = tmp_path / str(moment)
        stop(data, path, moment, Memory(), **changes)
        torch.manual_seed(99)
        notes, memory = Recorder(), Memory()
        resumed = train(data, Stopping(path), notes, memory, **changes)
        require_same(resumed, whole)
        assert resumed[1].first_step < resumed[1].last_step
        assert len(notes.metrics) == 3 - moment // looks  # an epoch is told once
        assert memory.steps == 3 * (looks - 1)


def test_stopped_again_and_again_it_ends_the_same(data: Data, tmp_path: Path) -> None:
    for _ in range(4):
        stop(data, tmp_path / "kept", 2)
    require_same(train(data, Stopping(tmp_path / "kept")), train(data, None))


def test_one_that_is_over_only_ends_again(data: Data, tmp_path: Path) -> None:
    whole, notes = train(data, Stopping(tmp_path / "kept")), Recorder()
    require_same(train(data, Stopping(tmp_path / "kept"), notes), whole)
    assert (notes.starts, notes.steps, notes.ends) == (1, 0, 1)


def test_it_says_where_it_stands(data: Data, tmp_path: Path) -> None:
    for looks, expected in ((LOOKS + 1, "2 of it is under way"), (LOOKS, "1 of it is over")):
        path = tmp_path / str(looks)
        stop(data, path, looks)
        state = TrainingState.from_dict(checkpoint.load(path)["state"])
        assert state.position() == f"epoch {expected}"


def test_a_checkpoint_of_another_network_is_refused(data: Data, tmp_path: Path) -> None:
    path = tmp_path / "kept"
    stop(data, path, 2)
    other = quick_trainer(data, network=UNet(width=8, depth=3))
    with pytest.raises(CheckpointError, match=f"{path}: is of another network than"):
        fit(other, checkpoint.load(path))


def test_a_checkpoint_comes_at_its_interval_and_at_the_end(data: Data, tmp_path: Path) -> None:
    for interval, number in ((3600, 1), (0, 3)):
        saved: list[tuple[Path, bool]] = []
        path = tmp_path / str(interval)
        keeper = Checkpointer(
            path, {}, StopSignal(), lambda *args, saved=saved: saved.append(args), interval
        )
        fit(quick_trainer(data, keeper, epochs=3))
        assert saved == [(path, False)] * number
        assert keeper.seconds > 0
        assert checkpoint.load(path)["state"]["epoch"] == 3


def test_a_checkpoint_comes_when_a_clock_has_changed_the_end(data: Data, tmp_path: Path) -> None:
    class Clock(Callback):
        def on_epoch_end(self, trainer: Trainer, metrics: object) -> None:
            if trainer.state.epoch == 1:
                trainer.state.schedule.change(1, 5)

    keeper = Checkpointer(tmp_path / "kept", {}, StopSignal(), interval=3600)
    epochs: list[int] = []
    keeper._on_save = lambda path, urgent: epochs.append(checkpoint.load(path)["state"]["epoch"])
    fit(quick_trainer(data, Clock(), keeper))
    assert epochs == [1, 5]
