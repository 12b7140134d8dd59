"""How an example's two files become pixels, or are refused by name; and a trimap a mask."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from segmentation.data.images.reader import RefusedError, exif_orientation, read_rgb, read_values
from segmentation.data.oxford_pets import Example
from segmentation.utils.files import read_regular_file
from segmentation.utils.paths import printable

Bytes = NDArray[np.uint8]
_Result = TypeVar("_Result")

#: Values of a trimap.
PET, BACKGROUND, BORDER = 1, 2, 3
#: The bits of a pixel's flags, made from a trimap: it is pet; it counts.
COUNTS_SHIFT = 1
PET_BIT, COUNTS_BIT = 1, 1 << COUNTS_SHIFT


_BY_EXIF = (
    " as it is stored; it is to be turned by its EXIF: draw the trimap on what is stored, or store "
    "the photo upright"
)


class ExampleError(Exception):
    """One file cannot be used; the message names it and says why, in text that can be stored."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))  # paths in it need not be UTF-8


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodedExample:
    """A decoded example.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        trimap: uint8 (H, W), values in {1, 2, 3}, with at least one 1.
    """

    image: Bytes
    trimap: Bytes


def decode_trimap(content: bytes) -> Bytes:
    """Decode a trimap to uint8 (H, W) with values in {1, 2, 3} and a pet.

    Raises:
        RefusedError: it is not such a trimap.
    """
    trimap = read_values(content)
    values = np.flatnonzero(np.bincount(trimap.ravel(), minlength=1)).tolist()
    strange = sorted(set(values) - {PET, BACKGROUND, BORDER})
    if strange:
        shown = ", ".join(map(str, strange[:5])) + (", ..." if len(strange) > 5 else "")
        raise RefusedError(f"expected trimap values 1, 2 and 3, found {shown}")
    if PET not in values:
        raise RefusedError("the trimap has no pet (no pixel of value 1)")
    return trimap


def decode(example: Example, image: bytes, trimap: bytes) -> DecodedExample:
    """Decode the two files of an example from their contents.

    Raises:
        ExampleError: either is refused, or their sizes differ; names every one of its offenders.
    """
    contents = {example.image: image, example.trimap: trimap}
    pixels = _each_file(example, lambda path, decoder: decoder(contents[path]))
    if pixels[0].shape[:2] != pixels[1].shape:
        sizes = [f"{p.shape[1]} x {p.shape[0]}" for p in pixels]
        text = f"{example.trimap}: is {sizes[1]} pixels, but its image is {sizes[0]}"
        raise ExampleError(text + _BY_EXIF * (exif_orientation(image) != 1))
    return DecodedExample(image=pixels[0], trimap=pixels[1])


def note_on_turned(names: Sequence[str]) -> list[str]:
    """Return a line about images that EXIF says are to be turned; none where there are none."""
    if not names:
        return []
    some = ", ".join(names[:3]) + ", ..." * (len(names) > 3)
    return [
        f"Note: photos that EXIF says are to be turned: {len(names)} ({some}); they are taken as "
        "they are stored, and so must their trimaps be drawn"
    ]


def read_files(example: Example) -> tuple[bytes, bytes]:
    """Return the bytes of image and trimap.

    Raises:
        ExampleError: names each file that is missing, unreadable, empty or no plain file; and the
            other one, if that cannot be decoded.
    """
    try:
        image, trimap = _each_file(example, lambda path, _: read_regular_file(path))
    except ExampleError:
        # What could be read is decoded all the same, so that everything wrong is told at once.
        _each_file(example, lambda path, decoder: decoder(read_regular_file(path)))
        raise
    return image, trimap


def _each_file(
    example: Example, function: Callable[[Path, Callable[[bytes], Bytes]], _Result]
) -> list[_Result]:
    """Call a function with path and decoder of image and trimap; name both in the error."""
    results, problems = [], []
    for path, decoder in ((example.image, read_rgb), (example.trimap, decode_trimap)):
        try:
            results.append(function(path, decoder))
        except RefusedError as error:
            problems.append(f"{path}: {error}")
        except OSError as error:
            problems.append(f"{path}: {error.strerror or error}")
    if problems:
        raise ExampleError("; ".join(problems))
    return results


def binary_mask(trimap: Bytes, border: str) -> tuple[Bytes, Bytes]:
    """Turn a trimap into the mask that is learned and the pixels that count.

    Args:
        trimap: uint8 (H, W) or (K,), values in {1, 2, 3}.
        border: what 3 becomes: `pet`, `background` or `ignore`.

    Returns:
        (mask, valid): uint8 of the same shape, both in {0, 1}; mask 1 = pet. `valid` is 1
        everywhere but on an ignored border, where mask is 0.
    """
    mask = (trimap == PET) | ((trimap == BORDER) & (border == "pet"))
    valid = (trimap != BORDER) | (border != "ignore")
    return mask.astype(np.uint8), valid.astype(np.uint8)


def flags_of(border: str) -> Bytes:
    """Return uint8 (256,): the flags (`PET_BIT`, `COUNTS_BIT`) of each value of a trimap."""
    mask, valid = binary_mask(np.arange(256, dtype=np.uint8), border)
    return mask * np.uint8(PET_BIT) | valid * np.uint8(COUNTS_BIT)
