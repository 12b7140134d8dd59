"""Writes splits as a folder of images and masks that a person can open, and train on again."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from segmentation.data.example import Example
from segmentation.data.images.examples import ExampleError, binary_mask, decode, read_files
from segmentation.data.images.reader import exif_orientation
from segmentation.errors import ConfigError, DataError
from segmentation.utils.files import atomic_dir

#: Masks hold 0 (background), 1 (pet) and, with border=ignore, 2 (does not count); viewers show
#: them black, white and gray.
_PALETTE = (0, 0, 0, 255, 255, 255, 128, 128, 128)

#: Which images are of one group, where they were split by groups.
GROUPS = "groups.csv"


def require_new(output: Path) -> None:
    """Refuse a folder that already holds something.

    Raises:
        ConfigError: it exists and is not empty, or is a file.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigError(
            f"output={output}: exists already; expected a new or empty folder, nothing is "
            "overwritten"
        )


def write_splits(
    splits: Mapping[str, Sequence[Example]], border: str, output: Path, *, grouped: bool
) -> list[str]:
    """Write OUTPUT/images/SPLIT/ID.jpg (or another ending) and OUTPUT/masks/SPLIT/ID.png (palette).

    Of `grouped` examples OUTPUT/groups.csv has the groups and classes.

    Returns:
        One line for each example that was left out because it cannot be used.

    Raises:
        DataError: the folder cannot be written; nothing is left there.
    """
    problems: list[str] = []
    rows: list[dict[str, str]] = []
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with atomic_dir(output) as stage:
            for name, examples in splits.items():
                for example in examples:
                    try:
                        path = _write(example, border, stage, f"{name}/{example.id}")
                    except ExampleError as error:
                        problems.append(str(error))
                    else:
                        row = {"path": path, "group": example.key}
                        rows.append({**row, example.labels.kind: example.kind})
            if grouped and rows:
                with (stage / GROUPS).open("w", encoding="utf-8", newline="") as file:
                    writer = csv.DictWriter(file, rows[0])
                    writer.writeheader()
                    writer.writerows(rows)
    except OSError as error:
        raise DataError(
            f"output={output}: cannot be written ({error}); nothing was left there. Give another "
            "folder, or free space"
        ) from error
    return problems


def _write(example: Example, border: str, folder: Path, name: str) -> str:
    """Write an example under a name without ending; return the image's name, with its ending."""
    content = read_files(example)
    pixels = decode(example, *content)
    mask, valid = binary_mask(pixels.trimap, border)
    picture = Image.fromarray(np.where(valid == 1, mask, 2).astype(np.uint8)).convert("P")
    picture.putpalette(_PALETTE)
    # The file itself, by whose digest it is known wherever it lies; but where viewers would turn
    # it, the pixels that are taken.
    turned = exif_orientation(content[0]) != 1
    image_name = f"{name}{'.png' if turned else example.image.suffix}"
    image_path, mask_path = folder / "images" / image_name, folder / "masks" / f"{name}.png"
    for path in (image_path, mask_path):
        path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(mask_path)
    if turned:
        Image.fromarray(pixels.image).save(image_path)
    else:
        image_path.write_bytes(content[0])
    return image_name
