"""Compares a training step, loading and augmentation included, with the bare step.

python docs/measurements/step.py PATH [WIDTH]

Both take turns, an epoch each, in one process: the ratio does not depend on what else the machine
is doing for longer than some seconds. The bare step is forward, BCEWithLogitsLoss, backward and
AdamW on a random batch of the same shape, in the same precision, on a network of the same kind.
"""

import statistics
import sys
import time

import torch
from torch import nn

from segmentation.batches import Batches
from segmentation.config import Config, DataConfig, ModelConfig
from segmentation.devices import choose_compute
from segmentation.pipeline import load_data
from segmentation.sources import find_source
from segmentation.training import Trainer
from segmentation.unet import build_unet

_REPEATS = 15

width = int(sys.argv[2]) if len(sys.argv) > 2 else ModelConfig().width
# A multiple of the batch size: every step has the bare step's shape.
data_config = DataConfig(source=sys.argv[1], train_images=96)
config = Config(data=data_config, model=ModelConfig(width=width))
compute = choose_compute(config.training)
data = load_data(config.data, find_source(config.data.source), lambda *_: None)
batches = Batches(data["train"], data["val"], config.training)
trainer = Trainer(build_unet(config.model, 0), batches, config.training, compute)

network = build_unet(config.model, 0).to(compute.device)
network = network.to(memory_format=torch.channels_last).train()
optimizer = torch.optim.AdamW(network.parameters(), lr=config.training.lr)
criterion = nn.BCEWithLogitsLoss()
side, size = config.data.image_size, config.training.batch_size
image = torch.rand(size, 3, side, side).to(memory_format=torch.channels_last) * 255
mask = (torch.rand(size, 1, side, side) < 0.4).float()


def bare_step() -> None:
    """Update the bare network once."""
    with compute.autocast():
        logits = network(image)
    loss = criterion(logits.float(), mask)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


ratios, speeds = [], []
for epoch in range(_REPEATS + 1):
    images = len(batches) * size
    start = time.perf_counter()
    for _ in range(len(batches)):
        bare_step()
    bare = (time.perf_counter() - start) / images
    ours = 1 / trainer.train(epoch)[1]
    if epoch:  # the first one warms up
        ratios.append(ours / bare)
        speeds.append((1 / ours, 1 / bare))
ratios.sort()
print(
    f"width {width}, {compute.amp}, {torch.get_num_threads()} threads: a training step costs "
    f"{statistics.median(ratios):.3f} times the bare step (from {ratios[0]:.3f} to "
    f"{ratios[-1]:.3f} over {_REPEATS} pairs); images/s, medians: "
    f"{statistics.median(s[0] for s in speeds):.1f} against "
    f"{statistics.median(s[1] for s in speeds):.1f} bare"
)
