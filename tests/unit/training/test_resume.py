"""`fit`, stopped after any step and gone on with: the same to the last bit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

from segmentation.errors import TrainingError
from segmentation.models.unet import EncoderUNet, UNet
from segmentation.runtime.signals import StopSignal
from segmentation.training import checkpoint
from segmentation.training.callbacks import Callback
from segmentation.training.checkpoint import Checkpointer
from segmentation.training.loop import fit
from segmentation.training.schedule import TrainingState
from segmentation.training.trainer import Trainer
from tests.helpers.quick import Data, Recorder, figures, quick_trainer


def pretrained_unet() -> EncoderUNet:
    """A small one; what its encoder has learned does not matter here."""
    encoder = timm.create_model("test_efficientnet", features_only=True).eval()
    return EncoderUNet(encoder, width=4, pretrained=True)


class Stopping(Checkpointer):
    """Keeps a training as the program does, and stops it when it looks for the nth time."""

    def __init__(self, path: Path, looks: int = 0) -> None:
        super().__init__(path, {}, StopSignal())
        self._looks = looks

    def on_step_end(self, trainer: Trainer) -> None:
        self._looks -= 1
        self.stop_signal.requested = self._looks == 0
        super().on_step_end(trainer)


Trained = tuple[dict[str, torch.Tensor], TrainingState]


def train(
    data: Data,
    keeper: Stopping | None,
    *others: Callback,
    pretrained: object = False,
    **changes: object,
) -> Trained:
    """Train to the end or to where it is stopped; return the weights and how it went."""
    torch.manual_seed(3)
    network = pretrained_unet() if pretrained else UNet(width=4, depth=3)
    callbacks = (*others, keeper) if keeper else others
    trainer = quick_trainer(data, *callbacks, network=network, **{"epochs": 3, **changes})
    saved = checkpoint.load(keeper.path) if keeper and keeper.path.exists() else None
    state = fit(trainer, saved)
    return network.state_dict(), state


def stop(data: Data, path: Path, looks: int, **changes: object) -> TrainingState:
    """Train until it is stopped; return the state that is kept."""
    with pytest.raises(KeyboardInterrupt):
        train(data, Stopping(path, looks), Recorder(), **changes)
    return TrainingState.from_dict(checkpoint.load(path)["state"])


def require_same(one: Trained, other: Trained) -> None:
    assert figures(one[1].history) == figures(other[1].history)
    for name in ("best_epoch", "best_dice", "epoch", "stop_reason"):
        assert getattr(one[1], name) == getattr(other[1], name)
    for name, tensor in one[0].items():
        assert torch.equal(tensor, other[0][name]), name


@pytest.mark.parametrize(
    ("changes", "steps", "moments"),
    [
        ({}, 3, [1, 3, 4, 5, 10, 12]),  # it looks after each step and each epoch
        ({"ema": 0.0, "loss": "bce+dice", "precision": "bf16"}, 3, [2, 6]),
        # Before and behind the eighth step, after which the average is updated.
        ({"batch_size": 1, "ema": 0.98, "resizing": "fixed"}, 12, [7, 8, 13 + 9, 2 * 13 + 12]),
        ({"pretrained": True}, 3, [6]),
        ({"pretrained": True, "encoder_lr": 0.3}, 3, [6]),
    ],
    ids=["fp32", "bf16 without average", "many steps", "frozen encoder", "pretrained encoder"],
)
def test_a_training_stopped_after_any_step_ends_as_one_that_never_was(
    data: Data, tmp_path: Path, changes: dict[str, object], steps: int, moments: list[int]
) -> None:
    whole = train(data, None, **changes)
    for moment in moments:
        epoch, step = divmod(moment, steps + 1)
        state = stop(data, tmp_path / str(moment), moment, **changes)
        assert (state.epoch, state.step) == (epoch, step)
        torch.manual_seed(99)
        notes = Recorder()
        resumed = train(data, Stopping(tmp_path / str(moment)), notes, **changes)
        require_same(resumed, whole)
        assert resumed[1].first_step < resumed[1].last_step
        assert len(notes.metrics) == 3 - epoch  # an epoch is told once
        assert notes.steps == 3 * steps


class Held(Recorder):
    """Holds a value besides."""

    def __init__(self, value: object) -> None:
        super().__init__()
        self.value = value

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "value": self.value}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.value = state["value"]


@pytest.mark.parametrize("value", [np.float64(1), np.zeros(2), Path("x"), lambda: 0])
def test_a_callback_whose_state_would_not_load_is_named_before_anything_is_written(
    data: Data, tmp_path: Path, value: object
) -> None:
    with pytest.raises(TrainingError, match=r"the callback Held: .* expected plain types"):
        train(data, Stopping(tmp_path / "kept"), Held(value), epochs=1)
    assert not (tmp_path / "kept").exists()


def test_two_callbacks_of_one_class_get_each_its_own_state(data: Data, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(data, Stopping(tmp_path / "kept", 1), Held(1), Held(2))
    both = Held(0), Held(0)
    train(data, Stopping(tmp_path / "kept"), *both)
    assert [one.value for one in both] == [1, 2]


@pytest.mark.parametrize(("interval", "expected"), [(3600, [3]), (0, [1, 2, 3])])
def test_a_checkpoint_comes_at_its_interval_and_at_the_end(
    data: Data, tmp_path: Path, interval: float, expected: list[int]
) -> None:
    epochs: list[int] = []

    def note(path: Path, urgent: bool) -> None:
        assert not urgent
        epochs.append(checkpoint.load(path)["state"]["epoch"])

    keeper = Checkpointer(tmp_path / "kept", {}, StopSignal(), note, interval)
    fit(quick_trainer(data, keeper, epochs=3))
    assert epochs == expected
