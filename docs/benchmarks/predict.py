"""Compares `predict` with the bare network, and with what its parts allow; and its memory.

python docs/benchmarks/predict.py PATH [WIDTH ...]     (needs no store: the weights are random)

For each width (16 and 64 unless given) the turns are taken in one process, several times: masks for
the photos of PATH as `predict` makes and writes them, and, on as many images as tensors in memory,
the bare network (batches of 8, at the size it works on, all threads). What its parts allow is the
time that reading and decoding all photos takes, plus that of the network, plus that of encoding all
masks; each of these with a thread a core, and nothing else. The network there is the whole
registered model on decoded photos, from each photo's size and back; with the bare network in its
place, which is told too, the resizing counts as our loss. Before that, peak memory for one and for
eight times as many photos, each in a process of its own.
"""

import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from segmentation.config.training import ModelConfig
from segmentation.data.photo_folder import PhotoTask, PredictOptions, find_photos
from segmentation.models.predictor import BATCH, Batched, one_thread_each, workers_for
from segmentation.models.unet import Segmenter, build_unet, resize_image
from segmentation.tracking.registry.photo_model import mask_png, read_photo
from segmentation.utils.concurrency import batched, prefetch
from segmentation.workflows.predict import predict

_REPEATS, _PHOTOS, _SIZE = 7, 240, 128
_CPU = torch.device("cpu")


def main() -> None:
    """Compare for each width, then look at memory."""
    data = Path(sys.argv[1])
    photos = (data / "images" if (data / "images").is_dir() else data).absolute()
    if "--memory" in sys.argv:
        _peak(photos, int(sys.argv[-1]))
        return
    # First: a process begins with the peak of the one that started it.
    for times in (1, 8):
        subprocess.run([sys.executable, __file__, str(photos), "--memory", str(times)], check=True)
    for width in [int(text) for text in sys.argv[2:]] or [16, 64]:
        _compare(width, photos)


def _segmenter(width: int) -> Segmenter:
    return Segmenter(build_unet(ModelConfig(width=width), 0), _SIZE).eval()


def _tasks(photos: Path, number: int) -> list[PhotoTask]:
    tasks, _ = find_photos(photos, Path("nowhere"))
    return tasks[:number]


def _compare(width: int, photos: Path) -> None:
    segmenter = _segmenter(width)
    model = Batched(segmenter, _CPU)
    tasks = _tasks(photos, _PHOTOS)
    contents = [task.photo.read_bytes() for task in tasks]
    pixels = [read_photo(content) for content in contents]
    small = torch.cat(
        [resize_image(torch.from_numpy(p).permute(2, 0, 1)[None], _SIZE) for p in pixels]
    )
    batches = [b.contiguous(memory_format=torch.channels_last) for b in torch.split(small, 8)]
    masks = [probability > 0.5 for probability in model(pixels)]
    network = segmenter.network.to(memory_format=torch.channels_last)

    def bare() -> None:
        with torch.inference_mode():
            for batch in batches:
                network(batch)

    def in_threads(function: Callable[..., object], inputs: list[object]) -> Callable[[], None]:
        def run() -> None:
            with one_thread_each() as first:
                for _ in prefetch(function, inputs, workers_for(_CPU), first):
                    pass

        return run

    def whole() -> None:
        folder = Path(tempfile.mkdtemp())
        predict(model, tasks, PredictOptions(output=folder / "out"), lambda done, total: None)
        shutil.rmtree(folder)

    turns = {
        "predict": whole,
        "bare": bare,
        "decode": in_threads(lambda path: read_photo(path.read_bytes()), [t.photo for t in tasks]),
        "encode": in_threads(mask_png, list(masks)),
        "model": in_threads(lambda some: list(model(some)), list(batched(pixels, BATCH))),
    }
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for repeat in range(_REPEATS + 1):
        for name, turn in turns.items():
            start = time.perf_counter()
            turn()
            if repeat:  # the first one warms up
                seconds[name].append(time.perf_counter() - start)
    taken = {name: np.array(values) for name, values in seconds.items()}
    around = taken["decode"] + taken["encode"]
    for label, ratios in (
        ("the bare network's speed", taken["bare"] / taken["predict"]),
        ("what its parts allow", (around + taken["model"]) / taken["predict"]),
        ("that with the bare network", (around + taken["bare"]) / taken["predict"]),
    ):
        print(
            f"width {width}: predict reaches {statistics.median(ratios):.2f} of {label} "
            f"({ratios.min():.2f} to {ratios.max():.2f}, {_REPEATS} pairs)"
        )
    rates = {name: f"{len(tasks) / np.median(t):.0f}" for name, t in taken.items()}
    print(f"width {width}: images/s {rates}")


def _peak(photos: Path, times: int) -> None:
    """Print the peak memory of a prediction of so many times the photos."""
    tasks = _tasks(photos, _PHOTOS)
    many = [
        PhotoTask(
            photo=task.photo, name=Path(f"{turn}") / task.name, result=Path(f"{turn}") / task.name
        )
        for turn in range(times)
        for task in tasks
    ]
    with tempfile.TemporaryDirectory() as folder:
        model = Batched(_segmenter(16), _CPU)
        predict(model, many, PredictOptions(output=Path(folder) / "out"), lambda done, total: None)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(many)} photos: peak memory {peak:.0f} MiB")


if __name__ == "__main__":
    main()
