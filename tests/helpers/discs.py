"""A data set so easy that seconds of training tell a good model from a poor one."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_discs(folder: Path, trainval: int, test: int, seed: int) -> None:
    """Write bright discs on a darker ground, both noisy, in the layout of Oxford-IIIT Pet."""
    random = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    (folder / "annotations" / "trimaps").mkdir(parents=True)
    lists: dict[str, list[str]] = {"trainval": [], "test": []}
    for number in range(trainval + test):
        cat = number % 2
        name = f"{'Tabby' if cat else 'pug'}_{number}"
        height, width = (int(side) for side in random.integers(70, 110, 2))
        rows, columns = np.mgrid[:height, :width]
        centre = random.uniform(0.35, 0.65, 2) * (height, width)
        distance = np.hypot(rows - centre[0], columns - centre[1])
        radius = random.uniform(24, 36)
        ground = random.normal(100, 25, (height, width, 3))
        image = np.where((distance < radius)[..., None], ground + 60, ground)
        trimap = np.select([distance < radius - 2, distance > radius], [1, 2], 3)
        photo = Image.fromarray(image.clip(0, 255).astype(np.uint8))
        photo.save(folder / "images" / f"{name}.jpg", quality=95)
        mask = Image.fromarray(trimap.astype(np.uint8))
        mask.save(folder / "annotations" / "trimaps" / f"{name}.png")
        line = f"{name} {2 - cat} {2 - cat} 1\n"
        lists["trainval" if number < trainval else "test"].append(line)
    for part, lines in lists.items():
        (folder / "annotations" / f"{part}.txt").write_text("".join(lines))
