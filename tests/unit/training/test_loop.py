"""`fit`: repeatable, honest about its best epoch, and stopped in the ways it says."""

from collections.abc import Iterator, Mapping

import pytest
import torch
from torch import nn

from segmentation.data.loader import Batch, BatchLoader
from segmentation.errors import TrainingError
from segmentation.metrics.segmentation import count
from segmentation.models.unet import UNet
from segmentation.training.callbacks import Callback, EarlyStopping
from segmentation.training.loop import fit
from segmentation.training.trainer import Trainer
from tests.helpers.quick import QUICK, Data, Recorder, figures, quick_trainer


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_seed_gives_the_same_figures_to_the_last_bit(data: Data, precision: str) -> None:
    histories = []
    for seed in (1, 1, 2):
        torch.manual_seed(5)
        network = UNet(width=4, depth=3)  # of the same weights, whatever the seed
        trainer = quick_trainer(data, network=network, precision=precision, seed=seed, epochs=2)
        histories.append(figures(fit(trainer).history))
    assert histories[0] == histories[1]
    assert histories[0] != histories[2]


def test_the_model_holds_the_weights_of_the_epoch_that_is_called_best(data: Data) -> None:
    notes, network = Recorder(), UNet(width=4, depth=3)
    state = fit(quick_trainer(data, notes, network=network, epochs=6))
    dice = [metrics["val/dice"] for metrics in notes.metrics]
    assert state.history["val/dice"] == dice
    assert (state.best_epoch, state.best_dice) == (1 + dice.index(max(dice)), max(dice))
    assert (state.epoch, state.stop_reason) == (6, "all 6 epochs ran")
    assert (notes.starts, notes.steps, notes.ends) == (1, 18, 1)
    ((_, val),) = BatchLoader(data["train"], data["val"], QUICK).validation_share()
    assert val
    with torch.inference_mode():
        logits = network.eval()(val.image)
    assert count(logits > 0, val.mask, val.valid).mean().dice == pytest.approx(max(dice), abs=1e-6)
    samples = notes.samples[state.best_epoch - 1]
    assert samples.shape == (5, 32, 32)
    assert samples == pytest.approx(torch.sigmoid(logits)[:, 0].numpy(), abs=1e-6)


def test_a_callback_stops_training_after_an_epoch(data: Data) -> None:
    class Enough(Callback):
        def on_epoch_end(self, trainer: Trainer, metrics: Mapping[str, float]) -> None:
            if trainer.state.epoch == 2:
                trainer.state.stop_reason = "enough"

    notes = Recorder()
    state = fit(quick_trainer(data, Enough(), notes))
    assert (state.epoch, state.stop_reason, len(notes.metrics), notes.ends) == (2, "enough", 2, 1)


def test_patience_counts_epochs_without_a_better_dice(data: Data) -> None:
    trainer, stopper = quick_trainer(data, epochs=9), EarlyStopping(patience=2)
    state = trainer.state
    for epoch, best in ((1, 1), (2, 1), (3, 3), (4, 3), (5, 3)):
        assert not state.finished
        state.epoch, state.best_epoch = epoch, best
        stopper.on_epoch_end(trainer, {})
    assert state.finished
    assert state.stop_reason == "no better validation Dice for 2 epochs"


def test_a_loss_that_is_not_finite_ends_training_in_a_sentence(data: Data) -> None:
    network = UNet(width=4, depth=3)
    nn.init.constant_(network.head.weight, torch.nan)
    with pytest.raises(TrainingError, match=r"training loss became nan in epoch 1.*Lower lr"):
        fit(quick_trainer(data, network=network))


@pytest.mark.parametrize("batch_size", [1, 4, 12])
def test_after_each_epoch_the_average_has_all_of_its_steps(data: Data, batch_size: int) -> None:
    trainer = quick_trainer(data, batch_size=batch_size)
    assert trainer._ema is not None
    for epoch in (1, 2):
        before = [weight.clone() for weight in trainer.eval_model.parameters()]
        trainer.train_epoch()
        after = trainer.eval_model.parameters()
        assert not any(torch.equal(old, new) for old, new in zip(before, after, strict=True))
        assert trainer._ema.get_extra_state() == epoch * len(trainer.batches)


def test_images_grow_to_full_size(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, seen = quick_trainer(data, epochs=3, resizing="progressive"), list[int]()
    original = trainer.batches.epoch

    def spy(number: int, size: int = 0, skip: int = 0) -> Iterator[Batch]:
        seen.append(size)
        return original(number, size, skip)

    monkeypatch.setattr(trainer.batches, "epoch", spy)
    fit(trainer)
    assert seen == [16, 24, 32]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("precision", ["auto", "fp16"])
def test_training_runs_on_a_gpu(data: Data, precision: str) -> None:
    history = fit(quick_trainer(data, device="cuda", precision=precision, epochs=20)).history
    assert history["train/loss"][-1] < history["train/loss"][0]
