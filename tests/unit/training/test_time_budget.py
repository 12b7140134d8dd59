"""A time for training: as many epochs as fit, kept to, and nothing else changed by measuring."""

import pytest
import torch

from segmentation.config.fields import MOST
from segmentation.data.loader import BatchLoader
from segmentation.models.unet import UNet
from segmentation.runtime.device import choose_compute
from segmentation.training.loop import fit
from segmentation.training.schedule import Schedule, TrainingState
from segmentation.training.time_budget import TimeBudget, measure_budget
from tests.helpers.quick import QUICK, Data, quick_trainer

#: Seconds an epoch: one for the first half of training, three for the second: two in the mean.
COSTS = [(0.5, 1.0), (1.0, 3.0)]


@pytest.mark.parametrize("seconds", [10.0, 90.0, 301.0])
@pytest.mark.parametrize("speed", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("stopped", [False, True])
def test_a_budget_is_kept_whatever_the_speed(seconds: float, speed: float, stopped: bool) -> None:
    costs = [(share, cost / 20) for share, cost in COSTS]
    budget = TimeBudget(seconds, costs)
    assert budget.epochs() == round(seconds * 10)
    state = TrainingState(Schedule(budget.epochs(), steps=3))
    while not state.finished:
        end = state.schedule.progress(state.epoch + 2)
        cost = next((cost for share, cost in costs if end < share), costs[-1][1])
        state.seconds += cost / speed
        state.epoch += 1
        if not state.finished:
            budget.correct(state)
        if stopped:  # after every epoch, and gone on with
            saved, budget = budget.state_dict(), TimeBudget(seconds, costs)
            budget.load_state_dict(saved)
    assert state.seconds == pytest.approx(seconds, rel=0.05)
    assert bool(budget.changes) == (speed != 1)
    assert str(budget).startswith(f"{seconds:g} s")


def test_more_time_is_more_epochs_and_measuring_leaves_no_trace(data: Data) -> None:
    batches = BatchLoader(data["train"], data["val"], QUICK)
    networks = [UNet(width=4, depth=3) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    epochs = []
    for seconds in (1.0, 1000.0, 1e13):
        budget = measure_budget(seconds, networks[1], batches, QUICK, choose_compute(QUICK))
        epochs.append(budget.epochs())
    assert epochs[0] < epochs[1]  # by how much depends on what else runs
    assert epochs[2] == MOST
    for network in networks:
        fit(quick_trainer(data, network=network))
    weights = [network.state_dict() for network in networks]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
