"""Dice after the same seconds of training: ours against what others would pick.

    pip install -e '.[benchmark]'
    python -m docs.benchmarks.peers DATA --search --seconds 30,90,300 --results FILE
    python -m docs.benchmarks.peers DATA --seconds 30,90,300 --results FILE

from the repository's root; DATA is a folder in the layout of Oxford-IIIT Pet. What FILE holds is
not trained again: after an interruption the same command goes on.

All train on the same images, one after the other, on the whole machine; ours comes first with every
even seed and last with every odd one. They are judged at each photo's own size, the border counted
as pet, by images on which nobody trained and by which nobody chose: neither `val`, nor the gate
split, which chose the defaults of `train` and, by `--search`, the settings of smp-pretrained.

ours            `train` with `budget`, as registered; validation counts as training time, for all
ours-unet       the same with encoder=unet: from random weights, as all below but smp-pretrained
smp-pretrained  Unet of segmentation_models_pytorch with an EfficientNet-Lite and its weights of
                ImageNet, those of ours, by our loop on our augmented batches, with as many epochs
                as fit; frozen: the encoder in eval mode, else all in train mode
smp             Unet with a ResNet-34, likewise
monai           MONAI's BasicUNet, likewise
script          what most tutorials do: a U-Net of width 64 in float32, files decoded anew in each
                epoch, flips, Adam at a constant rate, batches of 16, the last weights

The learning rates of smp and monai are the best of 1e-3, 2e-3, 4e-3, 8e-3 on the gate images.
"""

import dataclasses
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
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
from segmentation.data.example import Example
from segmentation.data.loader import BatchLoader
from segmentation.data.loading import Splits, load_data
from segmentation.data.sources import resolve_source
from segmentation.data.splits import choose_subset, split
from segmentation.metrics.significance import compare, seed_spread
from segmentation.models.encoders import create_encoder
from segmentation.models.unet import Segmenter, UNet
from segmentation.runtime.device import Compute, choose_compute
from segmentation.training.loop import fit
from segmentation.training.time_budget import measure_budget
from segmentation.training.trainer import Trainer

Settings = dict[str, Any]

_PEER: Settings = {"image_size": 128, "resizing": "fixed", "ema": 0.0}
#: Parameters of `train` for each contestant; `frozen` is smp-pretrained's own.
_SETTINGS: dict[str, Settings] = {
    "ours": {},
    "ours-unet": {"encoder": "unet"},
    "smp-pretrained": {
        **_PEER,
        "encoder": "efficientnet_lite0",
        "frozen": True,
        "lr": 1e-3,
        "precision": "bf16",
        "image_size": 224,
    },
    "smp": {**_PEER, "lr": 1e-3},
    "monai": {**_PEER, "lr": 4e-3},
    "script": {"image_size": 128, "lr": 1e-3, "batch_size": 16},
}
#: What is better where training takes so many seconds, by contestant and seconds.
_LONGER: Settings = {"encoder": "efficientnet_lite2", "ema": 0.98, "lr": 3e-3}
_BETTER = {("smp-pretrained", 90): _LONGER, ("smp-pretrained", 300): _LONGER}

#: What `--search` tries of smp-pretrained, one row after the other, each with the best so far.
_TRIALS: list[list[Settings]] = [
    [
        {"frozen": frozen, "lr": lr}
        for frozen, rates in ((False, (3e-4, 1e-3, 3e-3)), (True, (1e-3, 3e-3, 1e-2)))
        for lr in rates
    ],
    [{"image_size": 128}, {"image_size": 224}],
    [{"encoder": "efficientnet_lite0"}, {"encoder": "efficientnet_lite2"}],
    [{"ema": 0.0}, {"ema": 0.98}],
    [{"precision": "fp32"}, {"precision": "bf16"}],
    # Again: another precision has other costs, and another size other needs.
    [{"image_size": 128}, {"image_size": 224}],
    [{"lr": 1e-3}, {"lr": 3e-3}],
    [{"encoder": "efficientnet_lite0"}, {"encoder": "efficientnet_lite2"}],
    [{"ema": 0.0}, {"ema": 0.98}],
]
_JUDGES = 1000  # images, at most


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
    with Image.open(example.image) as photo, Image.open(example.mask) as trimap:
        square = size or photo.size
        image = np.array(photo.convert("RGB").resize(square, Image.Resampling.BILINEAR))
        return image, np.array(trimap.resize(square, Image.Resampling.NEAREST)) != 2


def train(name: str, seconds: int, options: Settings) -> tuple[nn.Module, float]:
    """Train a contestant; return the model, and how many seconds that took."""
    if name.startswith("ours"):
        return train_ours(seconds, options)
    config = Config.from_options(options)
    compute = choose_compute(config.training)
    splits = load_data(config.data, resolve_source(config.data), lambda *_: None)
    torch.manual_seed(config.training.seed)
    if name == "script":
        return train_script(seconds, config, splits["train"].examples, compute.device)
    return train_peer(build(name, options), seconds, config, splits, compute)


def train_ours(seconds: int, options: Settings) -> tuple[nn.Module, float]:
    with new_program() as program:
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
    seconds: int, config: Config, examples: Sequence[Example], device: torch.device
) -> tuple[nn.Module, float]:
    size, training = config.data.image_size, config.training
    network = UNet(64, 4, 1).to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=training.lr)
    # On a CPU the network needs every core, and the training process itself decodes.
    workers = 0 if device.type == "cpu" else os.cpu_count() or 1
    files = Files(examples, size)
    loader = DataLoader(files, training.batch_size, shuffle=True, num_workers=workers)
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
    network: nn.Module, seconds: int, config: Config, splits: Splits, compute: Compute
) -> tuple[nn.Module, float]:
    batches = BatchLoader(splits["train"], splits["val"], config.training)
    budget = measure_budget(seconds, network, batches, config.training, compute)
    training = dataclasses.replace(config.training, epochs=budget.epochs())
    state = fit(Trainer(network, batches, training, compute, callbacks=[budget]))
    model = Segmenter(network, config.data.image_size).eval().cpu()
    return model, state.last_step - state.first_step


class Normalized(nn.Module):
    """A network that expects normalized colors, for pixels in [0, 255]."""

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.mean = nn.Buffer(torch.tensor(mean).view(1, 3, 1, 1) * 255)
        self.std = nn.Buffer(torch.tensor(std).view(1, 3, 1, 1) * 255)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.network((image.float() - self.mean) / self.std)
        return logits


def build(name: str, options: Settings) -> nn.Module:
    import segmentation_models_pytorch as smp
    from monai.networks.nets import BasicUNet

    if name == "smp-pretrained":
        network = smp.Unet(f"tu-tf_{options['encoder']}", encoder_weights=None)
        # The same weights as ours; smp keeps timm's network within its own.
        ours, _ = create_encoder(options["encoder"], "auto")
        network.encoder.model.load_state_dict(ours.state_dict())
        if options["frozen"]:
            network.encoder.eval().requires_grad_(False)
            network.encoder.train = lambda _mode: network.encoder  # it stays in eval mode
        return Normalized(network, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    if name == "smp":
        network = smp.Unet("resnet34", encoder_weights=None)
    else:
        network = BasicUNet(spatial_dims=2, in_channels=3, out_channels=1)
    return Normalized(network, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@torch.inference_mode()
def judge(model: nn.Module, examples: Sequence[Example]) -> NDArray[np.float64]:
    """Return the Dice of each photo at its own size."""
    scores = []
    for example in examples:
        photo, truth = pixels(example)
        found = model(torch.from_numpy(photo).permute(2, 0, 1)[None])[0, 0].numpy() > 0.5
        scores.append(2 * (found & truth).sum() / max(1, found.sum() + truth.sum()))
    return np.array(scores)


class Contest:
    """Trains and judges, once: what is in the file `results`, a line of JSON each, is taken."""

    def __init__(self, options: Settings, results: str) -> None:
        self.options, self.file = options, Path(results)
        text = self.file.read_text() if self.file.exists() else ""
        self.lines: list[Settings] = [json.loads(line) for line in text.splitlines()]
        data = Config.from_options(options).data
        source = resolve_source(data)
        trainval, test = source.trainval(), source.test()
        parts = split(trainval, data)
        others = [*{*trainval, *test}.difference(parts.train, parts.val, parts.gate)]
        judges = choose_subset(others, min(_JUDGES, len(others)), seed=0)
        self.images = {"gate": parts.gate, "judge": judges}

    def dice(
        self, name: str, settings: Settings, seconds: int, seed: int, images: str = "judge"
    ) -> NDArray[np.float64]:
        """Return the Dice of each of the images that judge, or of the gate."""
        key = {"contestant": name, "settings": settings, "seconds": seconds, "seed": seed}
        key |= {"images": images, **self.options}
        for line in self.lines:
            if key.items() <= line.items():
                return np.array(line["dice"])
        model, took = train(name, seconds, {**self.options, **settings, "seed": seed})
        dice = judge(model, self.images[images])
        print(
            f"{name} {settings}, {seconds} s, seed {seed}: Dice {dice.mean():.4f} of {len(dice)} "
            f"{images} images after {took:.1f} s",
            flush=True,
        )
        self.lines.append({**key, "took": took, "dice": dice.tolist()})
        with self.file.open("a") as file:
            file.write(json.dumps(self.lines[-1]) + "\n")
        return dice


def search(contest: Contest, seconds: int) -> None:
    """Find the settings of smp-pretrained that are best on the gate images."""
    best = _SETTINGS["smp-pretrained"]
    for row in _TRIALS:
        tried = [best | change for change in row]
        dice = [contest.dice("smp-pretrained", one, seconds, 0, "gate").mean() for one in tried]
        best = tried[int(np.argmax(dice))]
    print(f"best after {seconds} s: {best}: Dice {max(dice):.4f}")


def compete(
    contest: Contest, names: Sequence[str], given: Settings, seconds: int, seeds: int
) -> list[str]:
    """Train all of them with every seed; return each one's cell of the table."""
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
    for seed in range(seeds):
        for name in names[:: 1 if seed % 2 == 0 else -1]:
            settings = _SETTINGS[name] | _BETTER.get((name, seconds), {})
            settings |= given if name == "ours" else {}
            found[name].append(contest.dice(name, settings, seconds, seed))
    ours = np.stack(found.pop("ours"))
    return [f"{ours.mean():.4f}", *(cell(ours, np.stack(dice)) for dice in found.values())]


def cell(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> str:
    told = compare(ours, theirs, seed_spread([ours, theirs]), 0.95)
    interval = f"{told.difference:+z.4f}; {told.low:+z.4f} to {told.high:+z.4f}"
    return f"{theirs.mean():.4f} ({interval}: {told.verdict.split(':')[0]})"


@click.command(context_settings={"show_default": True})
@click.argument("data", type=click.Path(exists=True, resolve_path=True))
@click.option("--seconds", default="90", help="One time or several, separated by commas.")
@click.option("--seeds", default=3)
@click.option("--peers", default=",".join([*_SETTINGS][1:]), help="Who trains beside ours.")
@click.option("--search", "searches", is_flag=True, help="Search smp-pretrained's settings.")
@click.option("--results", default=os.devnull, help="A file to go on from.")
@click.option("-P", "given", multiple=True, metavar="NAME=VALUE", help="A parameter of ours.")
@click.option("--train-images", default="100")
def main(
    seconds: str,
    seeds: int,
    peers: str,
    searches: bool,
    results: str,
    given: Sequence[str],
    **options: str,
) -> None:
    """Train all of them, with every seed; compare."""
    contest, times = Contest(options, results), [int(one) for one in seconds.split(",")]
    if searches:
        for one in times:
            search(contest, one)
        return
    names, parameters = ["ours", *peers.split(",")], dict(pair.split("=", 1) for pair in given)
    columns = [compete(contest, names, parameters, one, seeds) for one in times]
    print("Mean Dice (ours less it, 95 %: ours is)", *(f"{one} s" for one in times), sep=" | ")
    for row in zip(names, *columns, strict=True):
        print(*row, sep=" | ")


if __name__ == "__main__":
    main()
