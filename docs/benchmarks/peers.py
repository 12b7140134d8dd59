"""Dice after the same seconds of training: ours against three others.

    pip install -e '.[benchmark]'
    python -m docs.benchmarks.peers DATA --seconds 90 --seeds 3

from the repository's root; DATA is a folder in the layout of Oxford-IIIT Pet.

All begin with random weights and train on the same images at the same size, one after the other, on
the whole machine; ours comes first with every even seed and last with every odd one. They are
judged at each photo's own size, the border counted as pet, by images on which nobody trained and by
which nobody chose: neither `val`, nor the gate split, which chose the defaults of `train`.

ours    `train` with `budget`, as registered; validation counts as training time, for all
script  what most tutorials do: a U-Net of width 64 in float32, files decoded anew in each epoch,
        flips, Adam at a constant rate, batches of 16, the last weights
smp     Unet of segmentation_models_pytorch with a ResNet-34, on our decoded and augmented batches,
        in the device's best precision, AdamW and one-cycle over the time, the weights of the epoch
        with the best Dice on the validation images
monai   MONAI's BasicUNet, likewise

The learning rates of smp and monai are the best of 1e-3, 2e-3, 4e-3, 8e-3 on the gate images.
"""

import copy
import itertools
import os
import time
from collections.abc import Sequence
from typing import Any

import click
import mlflow
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from docs.benchmarks.common import new_program, newest_run, run
from segmentation.config.training import Config
from segmentation.data.loader import BatchLoader
from segmentation.data.loading import Splits, load_data
from segmentation.data.oxford_pets import Example, has_test_list, read_list, read_trainval
from segmentation.data.sources import resolve_source
from segmentation.data.splits import choose_subset, in_gate
from segmentation.metrics.segmentation import count, join
from segmentation.metrics.significance import compare, seed_spread
from segmentation.models.unet import Segmenter, UNet
from segmentation.runtime.device import Compute, choose_compute
from segmentation.training.loss import SegmentationLoss
from segmentation.training.schedule import one_cycle
from tests.helpers.programs import Program

_RATES = {"smp": 1e-3, "monai": 4e-3}
_SCRIPT_RATE, _SCRIPT_BATCH = 1e-3, 16


class Files(Dataset[tuple[Tensor, Tensor]]):
    """Decodes a photo and its trimap each time one asks: float (3, S, S) in [0, 255], (1, S, S)."""

    def __init__(self, examples: Sequence[Example], size: int) -> None:
        self.examples, self.size = examples, (size, size)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        photo, trimap = pixels(self.examples[index], self.size)
        if torch.rand(()) < 0.5:
            photo, trimap = photo[:, ::-1].copy(), trimap[:, ::-1].copy()
        return torch.from_numpy(photo).permute(2, 0, 1).float(), torch.from_numpy(trimap)[None] / 1


def pixels(
    example: Example, size: tuple[int, int] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return a photo (H, W, 3), RGB, and where there is pet (H, W), resized where asked."""
    with Image.open(example.image) as photo, Image.open(example.trimap) as trimap:
        square = size or photo.size
        image = np.array(photo.convert("RGB").resize(square, Image.Resampling.BILINEAR))
        return image, np.array(trimap.resize(square, Image.Resampling.NEAREST)) != 2


def train_ours(program: Program, seconds: int, options: dict[str, Any]) -> tuple[nn.Module, float]:
    run(program, "train", budget=f"{seconds}s", **options)
    trained = newest_run(program)
    client = mlflow.MlflowClient(program.store)
    (version,) = client.search_model_versions(f"run_id = '{trained.info.run_id}'")
    mlflow.set_tracking_uri(program.store)
    model: nn.Module = mlflow.pytorch.load_model(f"models:/{version.name}/{version.version}")
    first, last = (
        float(trained.data.tags[f"mlflow.petseg.time.{step}_step"]) for step in ("first", "last")
    )
    return model, last - first


def train_script(
    seconds: int, examples: Sequence[Example], size: int, device: torch.device
) -> tuple[nn.Module, float]:
    network = UNet(64, 4, 1).to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=_SCRIPT_RATE)
    # On a CPU the network needs every core, and the training process itself decodes.
    workers = 0 if device.type == "cpu" else os.cpu_count() or 1
    files = Files(examples, size)
    loader = DataLoader(files, _SCRIPT_BATCH, shuffle=True, num_workers=workers)
    criterion, started = nn.BCEWithLogitsLoss(), time.perf_counter()
    while True:
        for image, mask in loader:
            loss = criterion(network(image.to(device)), mask.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()  # such scripts print it, which waits for the device
            if (took := time.perf_counter() - started) >= seconds:
                return Segmenter(network, size).eval().cpu(), took


def train_peer(
    name: str, seconds: int, config: Config, splits: Splits, compute: Compute
) -> tuple[nn.Module, float]:
    """Train a network of another library as well as ours is."""
    network = build(name).to(compute.device).to(memory_format=torch.channels_last).train()
    batches = BatchLoader(splits["train"], splits["val"], config.training)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATES[name], fused=True)
    scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.scaled)
    criterion, best, weights = SegmentationLoss(config.training.loss), -1.0, network.state_dict()
    started = time.perf_counter()
    for epoch in itertools.count(1):
        for batch in batches.epoch(epoch):
            if (took := time.perf_counter() - started) >= seconds:
                network.load_state_dict(weights)
                return Segmenter(network, config.data.image_size).eval().cpu(), took
            for group in optimizer.param_groups:
                group["lr"] = _RATES[name] * one_cycle(took / seconds)
            there = batch.to(compute.device)
            with compute.autocast():
                logits = network(there.image)
            loss = criterion(logits, there.mask, there.valid)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        if (dice := validate(network, batches, compute)) > best:
            best, weights = dice, copy.deepcopy(network.state_dict())
    raise AssertionError


class Normalized(nn.Module):
    """A network that expects colors normalized as ImageNet's, for pixels in [0, 255]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.mean = nn.Buffer(torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1))
        self.std = nn.Buffer(torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.network((image.float() - self.mean) / self.std)
        return logits


def build(name: str) -> nn.Module:
    if name == "smp":
        import segmentation_models_pytorch as smp

        return Normalized(smp.Unet("resnet34", encoder_weights=None))
    from monai.networks.nets import BasicUNet

    return Normalized(BasicUNet(spatial_dims=2, in_channels=3, out_channels=1))


@torch.inference_mode()
def validate(network: nn.Module, batches: BatchLoader, compute: Compute) -> float:
    network.eval()
    parts = []
    for there in (batch.to(compute.device) for _, batch in batches.validation_share() if batch):
        with compute.autocast():
            parts.append(count(network(there.image) > 0, there.mask, there.valid))
    network.train()
    return float(join(parts).mean().dice)


@torch.inference_mode()
def judge(model: nn.Module, examples: Sequence[Example]) -> NDArray[np.float64]:
    """Return the Dice of each photo at its own size."""
    scores = []
    for example in examples:
        photo, truth = pixels(example)
        found = model(torch.from_numpy(photo).permute(2, 0, 1)[None])[0, 0].numpy() > 0.5
        scores.append(2 * (found & truth).sum() / max(1, found.sum() + truth.sum()))
    return np.array(scores)


@click.command(context_settings={"show_default": True})
@click.argument("data")
@click.option("--seconds", default=90)
@click.option("--seeds", default=3)
@click.option("--peers", default="script,smp,monai")
@click.option("--train-images", default="100")
@click.option("--val-images", default="20")
@click.option("--image-size", default=128)
@click.option("--judged", default=1000, help="Images that judge, at most.")
def main(data: str, seconds: int, seeds: int, peers: str, judged: int, **options: Any) -> None:
    """Train all of them, with every seed; compare."""
    options["data"] = data
    config, source = Config.from_options(options), resolve_source(data)
    compute, size = choose_compute(config.training), config.data.image_size
    splits = load_data(config.data, source, lambda *_: None)
    taken = {example.id for split in splits.values() for example in split.examples}
    listed = [one for one in read_trainval(source.root) if not in_gate(one)]
    listed += read_list(source.root, "test") if has_test_list(source.root) else []
    judges = [example for example in listed if example.id not in taken]
    judges = choose_subset(judges, min(judged, len(judges)), seed=0)
    scores: dict[str, list[NDArray[np.float64]]] = {}
    for seed in range(seeds):
        for name in ("ours", *peers.split(","))[:: 1 if seed % 2 == 0 else -1]:
            torch.manual_seed(seed)
            if name == "ours":
                with new_program() as program:
                    model, took = train_ours(program, seconds, {**options, "seed": seed})
            elif name == "script":
                examples = splits["train"].examples
                model, took = train_script(seconds, examples, size, compute.device)
            else:
                seeded = Config.from_options({**options, "seed": seed})
                model, took = train_peer(name, seconds, seeded, splits, compute)
            scores.setdefault(name, []).append(judge(model, judges))
            dice = scores[name][-1].mean()
            print(f"{name}, seed {seed}: Dice {dice:.4f} after {took:.1f} s", flush=True)
    ours = np.stack(scores.pop("ours"))
    for name, found in scores.items():
        theirs = np.stack(found)
        told = compare(ours, theirs, seed_spread([ours, theirs]), 0.95)
        print(
            f"ours {ours.mean():.4f} less {name} {theirs.mean():.4f}: {told.difference:+.4f} (95 % "
            f"{told.low:+.4f} to {told.high:+.4f}; {len(judges)} images): {told.verdict}"
        )


if __name__ == "__main__":
    main()
