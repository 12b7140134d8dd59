"""Some epochs of suite `scale-out`, in as many processes as `torchrun` starts; each prints JSON.

python -m segmentation.benchmark.scale_out_job FOLDER IMAGES SIZE WIDTH EPOCHS HOW

HOW is `together`, one training by all, or `apart`, where each trains by itself on batches as large
as its share would be: what the processor gives to so many processes that need not talk.
"""

import contextlib
import json
import os
import sys

from segmentation.config.training import Config
from segmentation.data.loader import BatchLoader
from segmentation.data.sources import resolve_source
from segmentation.models.unet import build_unet
from segmentation.runtime.device import choose_compute
from segmentation.runtime.process_group import SINGLE_PROCESS, init_process_group
from segmentation.training.trainer import Trainer
from segmentation.workflows.session import load_data


def main() -> None:
    """Read, train some epochs, print."""
    folder, images, size, width, epochs, how = sys.argv[1:]
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    count = "all" if images == "all" else int(images)
    options = {"data": folder, "train_images": count, "image_size": int(size)}
    batch = Config().training.batch_size // (processes if how == "apart" else 1)
    config = Config.from_options(
        {**options, "width": int(width), "batch_size": batch, "resizing": "fixed"}
    )
    training = config.training
    with (
        init_process_group({})
        if how == "together"
        else contextlib.nullcontext(SINGLE_PROCESS) as group
    ):
        compute = choose_compute(training, group.local_rank)
        with group.local_main_process_first():
            found = load_data(config.data, resolve_source(folder), lambda *_: None)
        batches = BatchLoader(found["train"], found["val"], training, group.share)
        trainer = Trainer(build_unet(config.model, 0), batches, training, compute, group)
        trainer.train_epoch(1)  # warms up
        rates = [trainer.train_epoch(number)[1] for number in range(2, int(epochs) + 2)]
        if how == "apart" or group.is_main_process:
            # In one piece, so that what another process prints is not in between.
            sys.stdout.write(json.dumps({"rates": rates}) + "\n")
            sys.stdout.flush()
        group.barrier()


if __name__ == "__main__":
    main()
