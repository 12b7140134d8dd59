"""Photos a second of `predict`, against the bare network on tensors in memory; and peak memory.

    python -m docs.benchmarks.predict PHOTOS [ENCODER[:WIDTH] ...]

from the repository's root; each at the size of its default training, the weights are random.
`predict` reads, decodes, resizes, computes, resizes back to each photo's size, encodes and writes.
"""

import resource
import sys
import tempfile
from pathlib import Path

import torch

from segmentation.config.commands import PredictOptions
from segmentation.config.training import Config
from segmentation.data.photo_folder import find_photos
from segmentation.models.predictor import Batched
from segmentation.models.unet import Segmenter, build_unet
from segmentation.workflows.benchmark import interleaved, random_batch, seconds, text
from segmentation.workflows.predict import write_masks

_REPEATS, _BATCH, _CPU = 5, 8, torch.device("cpu")
_USUAL = ["efficientnet_lite2", "efficientnet_lite0", "unet", "unet:64"]


def compare(name: str, photos: Path) -> None:
    encoder, _, width = name.partition(":")
    options = {"encoder": encoder, "width": width, "weights": "none"}
    config = Config.from_options(options)
    size = config.data.image_size
    segmenter = Segmenter(build_unet(config.model, 0), size).eval()
    model, (tasks, _) = Batched(segmenter, _CPU), find_photos(photos, Path("nowhere"))
    network = segmenter.network.to(memory_format=torch.channels_last)
    image, _ = random_batch(_BATCH, size, _CPU)

    @torch.inference_mode()
    def bare() -> None:
        for _ in range(len(tasks) // _BATCH):
            network(image)

    def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            options = PredictOptions(images=str(photos), output=Path(folder) / "out")
            write_masks(model, tasks, options, lambda *_: None)

    cases = {"bare": lambda: seconds(bare), "predict": lambda: seconds(whole)}
    took = interleaved(cases, _REPEATS)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{name}, {size} pixels: {text(len(tasks) / took['predict'])} photos/s, "
        f"{text(took['bare'] / took['predict'], '.2f')} of the bare network's speed; "
        f"{len(tasks)} photos, at most {peak:.0f} MiB"
    )


def main() -> None:
    for name in sys.argv[2:] or _USUAL:
        compare(name, Path(sys.argv[1]).absolute())


if __name__ == "__main__":
    main()
