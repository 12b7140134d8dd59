"""`fit`, stopped after any step and gone on with: the same to the last bit."""

import dataclasses
import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from segmentation.data.dataset import SplitDataset
from segmentation.data.loader import BatchLoader
from segmentation.errors import CheckpointError
from segmentation.models.unet import UNet
from segmentation.runtime.device import choose_compute
from segmentation.runtime.signals import StopSignal
from segmentation.training import checkpoint
from segmentation.training.callbacks import FitResult
from segmentation.training.checkpoint import Snapshot
from segmentation.training.checkpointer import DiskCheckpointer
from segmentation.training.loop import fit
from segmentation.training.time_budget import Budget
from tests.unit.data.test_loader import loaded
from tests.unit.training.test_loop import QUICK, Notebook

LOOKS = 4  # an epoch's: after each of three steps (12 images by 4), and after the epoch


class Stopping(DiskCheckpointer):
    """Keeps a training as the program does, and stops it when it looks for the nth time."""

    def __init__(self, path: Path, steps: int, identity: dict[str, object] | None = None) -> None:
        super().__init__(path, identity or {}, StopSignal())
        self.steps, self.seen = steps, 0

    def after_step(self, take: Callable[[], Snapshot]) -> None:
        self.seen += 1
        if self.seen == self.steps:
            self.interruption.asked = True
        super().on_step_end(take)


@pytest.fixture(scope="module")
def data(pets: Path) -> dict[str, SplitDataset]:
    return loaded(pets)


def train(
    data: dict[str, SplitDataset],
    keeper: DiskCheckpointer | None,
    notes: Notebook,
    **changes: object,
) -> tuple[UNet, FitResult]:
    config = dataclasses.replace(QUICK, **changes)  # type: ignore[arg-type]
    torch.manual_seed(config.seed)
    network = UNet(width=4, depth=3)
    batches = BatchLoader(data["train"], data["val"], config)
    compute = choose_compute(config)
    return network, fit(network, batches, config, compute, [notes], keeper=keeper)


def figures(result: FitResult) -> dict[str, list[float]]:
    return {name: values for name, values in result.history.items() if "second" not in name}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ema": 0.0, "loss": "bce+dice", "precision": "bf16"},
        {"loader_workers": 1, "ema": 0.98, "resizing": "fixed"},
    ],
    ids=["fp32", "bf16 without average", "worker"],
)
def test_a_training_stopped_after_any_step_ends_as_one_that_never_was(
    data: dict[str, SplitDataset], tmp_path: Path, changes: dict[str, object]
) -> None:
    whole, expected = train(data, None, Notebook(), **changes)
    moments = [6] if "loader_workers" in changes else range(1, 4 * LOOKS + 1)
    for steps in moments:
        path = tmp_path / str(steps)
        with pytest.raises(KeyboardInterrupt):
            train(data, Stopping(path, steps), Notebook(), **changes)
        torch.manual_seed(99)
        notes = Notebook()
        network, result = train(data, Stopping(path, 0), notes, **changes)
        assert figures(result) == figures(expected)
        assert (result.best_epoch, result.epochs) == (expected.best_epoch, expected.epochs)
        assert result.first_step < result.last_step
        assert notes.first is None  # an epoch is told once, by whoever ran it
        assert len(notes.reports) == 4 - steps // LOOKS
        for name, tensor in whole.state_dict().items():
            assert torch.equal(tensor, network.state_dict()[name]), (steps, name)


def test_stopped_again_and_again_it_ends_the_same(
    data: dict[str, SplitDataset], tmp_path: Path
) -> None:
    whole, expected = train(data, None, Notebook())
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            train(data, Stopping(tmp_path / "kept", 2), Notebook())
    network, result = train(data, Stopping(tmp_path / "kept", 0), Notebook())
    assert figures(result) == figures(expected)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name])


def test_one_that_is_over_only_ends_again(data: dict[str, SplitDataset], tmp_path: Path) -> None:
    _, expected = train(data, Stopping(tmp_path / "kept", 0), Notebook())
    notes = Notebook()
    network, result = train(data, Stopping(tmp_path / "kept", 0), notes)
    assert notes.reports == []
    assert notes.result == result
    assert result.history == expected.history
    whole, _ = train(data, None, Notebook())
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name])


def test_every_random_state_goes_on(data: dict[str, SplitDataset], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(data, Stopping(tmp_path / "kept", 2), Notebook())
    kept = (random.random(), np.random.random(), torch.rand(1).item())  # noqa: S311
    keeper = Stopping(tmp_path / "kept", 1)
    with pytest.raises(KeyboardInterrupt):
        train(data, keeper, Notebook())
    # Training itself draws from none of them.
    drawn = (random.random(), np.random.random(), torch.rand(1).item())  # noqa: S311
    assert drawn == kept


def test_a_checkpoint_of_another_training_is_refused_with_what_differs(
    data: dict[str, SplitDataset], tmp_path: Path
) -> None:
    path = tmp_path / "kept"
    with pytest.raises(KeyboardInterrupt):
        train(data, Stopping(path, 2, {"model.width": 4, "training.lr": 0.01}), Notebook())
    with pytest.raises(CheckpointError) as refused:
        train(data, Stopping(path, 0, {"model.width": 8, "training.lr": 0.01}), Notebook())
    assert "model.width 4 there, 8 here" in str(refused.value)
    assert "lr" not in str(refused.value).partition("training: ")[2].partition(";")[0]
    assert str(path) in str(refused.value)


def test_a_checkpoint_of_another_network_is_refused(
    data: dict[str, SplitDataset], tmp_path: Path
) -> None:
    path = tmp_path / "kept"
    with pytest.raises(KeyboardInterrupt):
        train(data, Stopping(path, 2), Notebook())
    config = dataclasses.replace(QUICK)
    batches = BatchLoader(data["train"], data["val"], config)
    with pytest.raises(CheckpointError, match="is of another network: of "):
        fit(
            UNet(width=8, depth=3),
            batches,
            config,
            choose_compute(config),
            keeper=Stopping(path, 0),
        )


def test_a_checkpoint_comes_at_its_rhythm_and_at_the_end(
    data: dict[str, SplitDataset], tmp_path: Path
) -> None:
    path = tmp_path / "kept"
    rare = DiskCheckpointer(path, {}, StopSignal(), rhythm=3600)
    train(data, rare, Notebook())
    assert rare.kept == 1
    path.unlink()
    often = DiskCheckpointer(path, {}, StopSignal(), rhythm=0)
    train(data, often, Notebook())
    assert often.kept == 4
    assert checkpoint.read(path).metadata["course"]["epoch"] == 4


def test_what_others_need_to_go_on_is_kept_with_it(
    data: dict[str, SplitDataset], tmp_path: Path
) -> None:
    path = tmp_path / "kept"
    told: list[tuple[Path, bool]] = []
    extra = {"pictures/0/0": np.arange(5, dtype=np.uint8)}
    keeper = DiskCheckpointer(
        path, {}, StopSignal(), lambda: extra, lambda file, urgent: told.append((file, urgent))
    )
    train(data, keeper, Notebook())
    assert told == [(path, False)]
    np.testing.assert_array_equal(checkpoint.read(path).arrays["pictures/0/0"], np.arange(5))


def test_a_budget_goes_on_with_the_time_that_is_left() -> None:
    budget = Budget(90.0, [(0.4, 0.1), (1.0, 0.4)], 3.0)
    budget.start()
    state = budget.state()
    assert re.fullmatch(r"0\.0\d*|\d\.?\d*e-\d+", repr(state["used"]))
    again = Budget.restored({**state, "used": 30.0})
    again.start()
    assert again.state()["used"] == pytest.approx(30.0, abs=1.0)
    assert (again.asked, again.epochs(), str(again)) == (90.0, budget.epochs(), "90 s")
