"""`fit`: repeatable, honest about its best epoch, and stopped in the ways it says."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from segmentation.config.training import TrainingConfig
from segmentation.data.dataset import SplitDataset
from segmentation.data.loader import Batch, BatchLoader
from segmentation.errors import ConfigError, TrainingError
from segmentation.metrics.segmentation import count
from segmentation.models.unet import UNet
from segmentation.runtime.device import choose_compute
from segmentation.training.callbacks import (
    Callback,
    EarlyStopping,
    EpochReport,
    FitResult,
    Samples,
    StopTraining,
)
from segmentation.training.ema import EMA
from segmentation.training.loop import fit
from segmentation.training.loss import SegmentationLoss
from segmentation.training.trainer import Trainer
from tests.unit.data.test_loader import loaded

QUICK = TrainingConfig(epochs=4, batch_size=4, lr=1e-2, ema=0.5, device="cpu", precision="fp32")


class Notebook:
    """Keeps the reports."""

    def __init__(self) -> None:
        self.reports: list[EpochReport] = []
        self.result: FitResult | None = None
        self.first: object = None

    def on_fit_start(self, samples: Samples) -> None:
        self.first = samples(2)

    def on_epoch_end(self, report: EpochReport) -> None:
        self.reports.append(report)

    def on_fit_end(self, result: FitResult) -> None:
        self.result = result


def trained(
    data: dict[str, SplitDataset], *observers: Callback, **changes: object
) -> tuple[UNet, FitResult]:
    config = dataclasses.replace(QUICK, **changes)  # type: ignore[arg-type]
    torch.manual_seed(config.seed)
    network = UNet(width=4, depth=3)
    batches = BatchLoader(data["train"], data["val"], config)
    return network, fit(network, batches, config, choose_compute(config), observers)


@pytest.fixture(scope="module")
def data(pets: Path) -> dict[str, SplitDataset]:
    return loaded(pets)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_seed_gives_the_same_figures_to_the_last_bit(
    data: dict[str, SplitDataset], precision: str
) -> None:
    runs = [
        trained(data, precision=precision, loader_workers=workers, seed=seed)
        for workers, seed in ((0, 1), (2, 1), (0, 2))
    ]
    figures = [
        {name: values for name, values in run[1].history.items() if "second" not in name}
        for run in runs
    ]
    assert figures[0] == figures[1]
    assert figures[0] != figures[2]
    weights = [run[0].state_dict() for run in runs]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_the_model_holds_the_weights_of_the_epoch_that_is_called_best(
    data: dict[str, SplitDataset],
) -> None:
    notes = Notebook()
    network, result = trained(data, notes, epochs=6)
    dice = [report.val.dice for report in notes.reports]
    assert result.best_epoch == 1 + dice.index(max(dice))
    (val,) = BatchLoader(data["train"], data["val"], QUICK).validation()
    with torch.inference_mode():
        counts = count(network.eval()(val.image) > 0, val.mask, val.valid)
    assert counts.mean().dice == pytest.approx(max(dice), abs=1e-6)
    assert result.history["val/dice"] == dice
    assert [report.is_best for report in notes.reports] == [
        dice[i] > max([-1.0, *dice[:i]]) for i in range(6)
    ]
    assert notes.result == result


def test_it_learns(data: dict[str, SplitDataset]) -> None:
    _, result = trained(data, epochs=40, augment="none", ema=0.0)
    assert result.history["train/loss"][-1] < 0.6 * result.history["train/loss"][0]
    assert max(result.history["val/dice"]) > result.history["val/dice"][0] + 0.05


def test_samples_are_the_probabilities_of_the_first_validation_images(
    data: dict[str, SplitDataset],
) -> None:
    notes = Notebook()
    network, _ = trained(data, notes, epochs=1, ema=0.0)
    samples = notes.reports[-1].samples(3)
    with torch.inference_mode():
        (val,) = BatchLoader(data["train"], data["val"], QUICK).validation()
        image = val.image[:3]
        expected = torch.sigmoid(network.eval()(image))[:, 0] * 255
    assert samples.shape == (3, 32, 32)
    assert abs(samples.astype(float) - expected.numpy()).max() <= 0.51


def test_an_observer_stops_training_after_the_epoch_that_it_judged(
    data: dict[str, SplitDataset],
) -> None:
    class Enough(Notebook):
        def on_epoch_end(self, report: EpochReport) -> None:
            super().on_epoch_end(report)
            if report.epoch == 2:
                raise StopTraining("enough")

    notes = Enough()
    _, result = trained(data, notes)
    assert (result.epochs, result.reason) == (2, "enough")
    assert len(result.history["val/dice"]) == 2
    assert notes.result == result


def test_patience_counts_epochs_without_a_better_dice() -> None:
    def report(epoch: int, is_best: bool) -> EpochReport:
        report = object.__new__(EpochReport)
        object.__setattr__(report, "epoch", epoch)
        object.__setattr__(report, "is_best", is_best)
        return report

    stopper = EarlyStopping(patience=2)
    for epoch, is_best in ((1, True), (2, False), (3, True), (4, False)):
        stopper.on_epoch_end(report(epoch, is_best))
    with pytest.raises(StopTraining, match="no better validation Dice for 2 epochs"):
        stopper.on_epoch_end(report(5, False))


def test_a_loss_that_is_not_finite_ends_training_with_a_word(data: dict[str, SplitDataset]) -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(1.0))

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image[:, :1] * self.weight * torch.inf

    batches = BatchLoader(data["train"], data["val"], QUICK)
    with pytest.raises(TrainingError, match=r"training loss became nan in epoch 1.*Lower lr"):
        fit(Broken(), batches, QUICK, choose_compute(QUICK))


def test_the_moving_average_forgets_fast_while_it_is_young_by_hand() -> None:
    model = nn.BatchNorm1d(1)
    average = EMA(model, 0.9)

    def updated(steps: int, weight: float) -> float:
        with torch.no_grad():
            model.weight.fill_(weight)
            model.get_buffer("num_batches_tracked").fill_(steps)
        average.update(steps)
        assert average.module.get_buffer("num_batches_tracked").item() == average.steps == steps
        return average.module.get_parameter("weight").item()

    assert updated(8, 1) == 1  # the first one copies
    # Eight steps, each with decay 9 / 18.
    assert updated(16, 12) == pytest.approx(1 / 2**8 * 1 + (1 - 1 / 2**8) * 12)
    before = average.module.get_parameter("weight").item()
    average.steps = 8000
    # Decay 0.9, not 8001 / 8010.
    assert updated(8003, 2) == pytest.approx(0.9**3 * before + (1 - 0.9**3) * 2)


@pytest.mark.parametrize("batch_size", [1, 4, 12])
def test_after_each_epoch_the_average_has_all_of_its_steps(
    data: dict[str, SplitDataset], batch_size: int
) -> None:
    config = dataclasses.replace(QUICK, batch_size=batch_size)
    network = UNet(width=4, depth=3)
    trainer = Trainer(
        network, BatchLoader(data["train"], data["val"], config), config, choose_compute(config)
    )
    before = [weight.detach().clone() for weight in trainer.eval_model.parameters()]
    for epoch in (1, 2):
        trainer.train_epoch(epoch)
        after = [weight.detach().clone() for weight in trainer.eval_model.parameters()]
        assert not any(torch.equal(old, new) for old, new in zip(before, after, strict=True))
        before = after
    assert trainer._average is not None
    assert trainer._average.steps == 2 * len(BatchLoader(data["train"], data["val"], config))


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [(1, [32]), (2, [24, 32]), (3, [16, 24, 32]), (10, [16] * 3 + [24] * 3 + [32] * 4)],
)
def test_images_grow_and_the_last_epoch_has_full_size(
    data: dict[str, SplitDataset], epochs: int, expected: list[int]
) -> None:
    seen: list[int] = []

    class Spy(BatchLoader):
        def epoch(self, number: int, size: int = 0, skip: int = 0) -> Iterator[Batch]:
            seen.append(size)
            return super().epoch(number, size)

    config = dataclasses.replace(QUICK, epochs=epochs, resizing="progressive")
    batches = Spy(data["train"], data["val"], config)
    fit(UNet(width=4, depth=3), batches, config, choose_compute(config))
    assert seen == expected


def test_ignored_pixels_change_neither_loss_nor_gradient() -> None:
    for name in ("bce", "bce+dice"):
        logits = torch.randn(2, 1, 4, 4, requires_grad=True)
        mask = (torch.rand(2, 1, 4, 4) < 0.5).float()
        valid = torch.ones_like(mask)
        valid[..., 0] = 0
        flipped = torch.where(valid == 0, 1 - mask, mask)
        losses = [SegmentationLoss(name)(logits, truth, valid) for truth in (mask, flipped)]
        assert losses[0] == losses[1]
        (gradient,) = torch.autograd.grad(losses[0], logits)
        assert (gradient[..., 0] == 0).all()
        assert gradient[..., 1:].abs().min() > 0


def test_bce_by_hand() -> None:
    logits, mask = torch.tensor([[[[0.0, 2.0]]]]), torch.tensor([[[[1.0, 1.0]]]])
    expected = (torch.log(torch.tensor(2.0)) + torch.log1p(torch.exp(torch.tensor(-2.0)))) / 2
    assert SegmentationLoss("bce")(logits, mask, torch.ones_like(mask)).item() == pytest.approx(
        expected.item()
    )


@pytest.mark.parametrize(
    ("capabilities", "amp"),
    [
        ({"avx512_bf16": True}, "bf16 (the hardware has it)"),
        ({"amx_bf16": True}, "bf16 (the hardware has it)"),
        ({"avx512_f": True}, "fp32 (this cpu has no bf16 in hardware)"),
    ],
)
def test_automatic_precision_is_what_the_processor_has_and_is_said(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], amp: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    compute = choose_compute(TrainingConfig(device="cpu"))
    assert compute.amp == amp
    assert (compute.dtype is torch.bfloat16) == amp.startswith("bf16")


def test_precision_as_asked_or_refused() -> None:
    assert choose_compute(TrainingConfig(device="cpu", precision="fp32")).dtype is None
    with pytest.raises(ConfigError, match="precision=fp16: needs a CUDA GPU"):
        choose_compute(TrainingConfig(device="cpu", precision="fp16"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA GPU is here")
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="device=cuda: PyTorch finds none here; it finds cpu"):
        choose_compute(TrainingConfig(device="cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("precision", ["auto", "fp16"])
def test_training_runs_on_a_gpu(data: dict[str, SplitDataset], precision: str) -> None:
    _, result = trained(data, device="cuda", precision=precision, epochs=20)
    assert result.history["train/loss"][-1] < result.history["train/loss"][0]
