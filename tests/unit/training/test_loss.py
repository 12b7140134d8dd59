"""The loss and the moving average, by hand; of several processes together that of one."""

from collections.abc import Sequence
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from segmentation.config.training import TrainingConfig
from segmentation.runtime.process_group import ProcessGroup
from segmentation.runtime.sharding import Shard
from segmentation.training.ema import EMA
from segmentation.training.loss import LOSSES, SegmentationLoss


def random_batch(images: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(images)
    logits = torch.randn(images, 1, 4, 4, generator=generator, requires_grad=True)
    mask, valid = (torch.rand(2, images, 1, 4, 4, generator=generator) < 0.6).byte()
    return logits, mask, valid


def test_every_choice_of_the_settings_is_a_loss() -> None:
    assert set(get_args(TrainingConfig.__annotations__["loss"])) == set(LOSSES)


def test_bce_by_hand() -> None:
    logits, mask = torch.tensor([[[[0.0, 2.0]]]]), torch.tensor([[[[1.0, 1.0]]]])
    expected = (torch.log(torch.tensor(2.0)) + torch.log1p(torch.exp(torch.tensor(-2.0)))) / 2
    loss = SegmentationLoss("bce")(logits, mask, torch.ones_like(mask))
    assert loss.item() == pytest.approx(expected.item())


@pytest.mark.parametrize("name", LOSSES)
def test_ignored_pixels_change_neither_loss_nor_gradient(name: str) -> None:
    logits, mask, valid = random_batch(2)
    valid.fill_(1)[..., 0] = 0
    flipped = torch.where(valid == 0, 1 - mask, mask)
    losses = [SegmentationLoss(name)(logits, truth, valid) for truth in (mask, flipped)]
    assert losses[0] == losses[1]
    (gradient,) = torch.autograd.grad(losses[0], logits)
    assert (gradient[..., 0] == 0).all()
    assert gradient[..., 1:].abs().min() > 0
    criterion = SegmentationLoss(name)
    each = criterion.evaluate_each(logits, mask, valid)
    torch.testing.assert_close(each.mean(), losses[0])


class Sums(ProcessGroup):
    """One of several processes, where what all of them sum up is known beforehand."""

    def __init__(self, rank: int, parts: Sequence[Tensor]) -> None:
        super().__init__(Shard(rank=rank, size=len(parts)))
        self._parts = parts

    def all_reduce(self, tensor: Tensor) -> Tensor:
        assert torch.equal(tensor, self._parts[self.shard.rank])
        return torch.stack(list(self._parts)).sum(dim=0)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("sizes", [(3, 1, 2), (4, 0, 2)])
def test_the_parts_gradients_have_the_whole_batchs_mean(name: str, sizes: tuple[int, ...]) -> None:
    logits, mask, valid = random_batch(6)
    whole = SegmentationLoss(name)(logits, mask, valid)
    (expected,) = torch.autograd.grad(whole, logits)
    parts = []
    for images, first in zip(sizes, (0, sizes[0], sum(sizes[:2])), strict=True):
        rows = slice(first, first + max(images, 1))  # an empty part is an image that counts nowhere
        counted = valid[rows] * bool(images)
        parts.append((rows, logits[rows].detach().requires_grad_(), mask[rows], counted))
    sums = [SegmentationLoss(name).evaluate(*part).detach() for _, *part in parts]
    found = torch.zeros_like(expected)
    for rank, (rows, *part) in enumerate(parts):
        loss = SegmentationLoss(name, Sums(rank, sums))(*part)
        assert loss.item() == pytest.approx(whole.item(), rel=1e-6)
        (gradient,) = torch.autograd.grad(loss, part[0])
        found[rows] += gradient / len(parts)  # DistributedDataParallel takes the mean
    torch.testing.assert_close(found, expected)


def test_the_moving_average_forgets_fast_while_it_is_young_by_hand() -> None:
    model, steps = nn.BatchNorm1d(1), 0
    ema = EMA(model, 0.9)

    def update(more: int, weight: float) -> float:
        nonlocal steps
        steps += more
        with torch.no_grad():
            model.weight.fill_(weight)
            model.get_buffer("num_batches_tracked").fill_(steps)
            model.get_buffer("running_mean").fill_(weight)
        ema.update(model, more)
        average = ema.module.get_parameter("weight").item()
        assert ema.module.get_buffer("num_batches_tracked").item() == steps
        assert ema.module.get_buffer("running_mean").item() == average
        return average

    assert update(8, 1) == 1  # the first one copies
    # Eight steps, each with decay 9 / 18.
    average = update(8, 12)
    assert average == pytest.approx(1 / 2**8 * 1 + (1 - 1 / 2**8) * 12)
    ema.set_extra_state(8000)
    # Decay 0.9, not 8001 / 8010.
    assert update(3, 2) == pytest.approx(0.9**3 * average + (1 - 0.9**3) * 2)
