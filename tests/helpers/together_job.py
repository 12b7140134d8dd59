"""Trains in as many processes as `torchrun` starts, and writes down what came of it.

python -m tests.helpers.together_job DATA_FOLDER OUTPUT_FOLDER [pretrained]
"""

import dataclasses
import hashlib
import json
import sys
from pathlib import Path

import torch

from segmentation.config.training import ModelConfig
from segmentation.data.loader import BatchLoader
from segmentation.models.unet import UNet, build_unet
from segmentation.runtime.device import choose_compute
from segmentation.runtime.process_group import ProcessGroup, init_process_group
from segmentation.training.loop import fit
from segmentation.training.trainer import Trainer
from tests.helpers.quick import QUICK, figures, loaded

Together = tuple[dict[str, list[float]], str]


def train(folder: Path, group: ProcessGroup, *, pretrained: bool = False) -> Together:
    """Return the figures of a training, and a digest of its weights."""
    config = dataclasses.replace(QUICK, batch_size=5, loss="bce+dice", resizing="fixed")
    data = loaded(folder)
    batches = BatchLoader(data["train"], data["val"], config, group.shard)
    torch.manual_seed(config.seed + group.shard.rank)  # the main process's weights count
    network = build_unet(ModelConfig(width=4), 0) if pretrained else UNet(width=4, depth=3)
    result = fit(Trainer(network, batches, config, choose_compute(config), group))
    weights = b"".join(one.detach().numpy().tobytes() for one in network.state_dict().values())
    return figures(result.history), hashlib.sha256(weights).hexdigest()


if __name__ == "__main__":
    with init_process_group({}) as all_of_them:
        found = train(Path(sys.argv[1]), all_of_them, pretrained=len(sys.argv) > 3)
        Path(sys.argv[2], f"{all_of_them.shard.rank}.json").write_text(json.dumps(found))
        all_of_them.barrier()
