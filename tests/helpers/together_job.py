"""Trains in as many processes as `torchrun` starts, and writes down what came of it."""

import dataclasses
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch

from segmentation.data.loader import BatchLoader
from segmentation.models.unet import UNet
from segmentation.runtime.device import choose_compute
from segmentation.runtime.process_group import init_process_group
from segmentation.training.loop import fit
from segmentation.training.trainer import Trainer
from tests.helpers.quick import QUICK, figures
from tests.unit.data.test_loader import loaded


def main() -> None:
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    config = dataclasses.replace(QUICK, batch_size=5, loss="bce+dice", resizing="fixed")
    with init_process_group({}) as group:
        data = loaded(folder)
        batches = BatchLoader(data["train"], data["val"], config, group.shard)
        seen = [
            hashlib.sha256(np.ascontiguousarray(image.numpy()).tobytes()).hexdigest()
            for batch in batches.epoch(1)
            for image, valid in zip(batch.image, batch.valid, strict=True)
            if valid.any()
        ]
        torch.manual_seed(config.seed + group.shard.rank)  # the main process's weights count
        network = UNet(width=4, depth=3)
        compute = choose_compute(config, group.local_rank)
        result = fit(Trainer(network, batches, config, compute, group))
        weights = b"".join(one.detach().numpy().tobytes() for one in network.state_dict().values())
        found = {
            "history": figures(result.history),
            "weights": hashlib.sha256(weights).hexdigest(),
            "seen": seen,
        }
        (out / f"{group.shard.rank}.json").write_text(json.dumps(found))
        group.barrier()


if __name__ == "__main__":
    main()
