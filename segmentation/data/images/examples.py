"""How an example's two files become pixels, or are refused by name; and a trimap a mask."""

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segmentation.data.images.reader import RefusedError, read_photo, read_values
from segmentation.data.oxford_pets import Example
from segmentation.utils.files import read_regular_file
from segmentation.utils.paths import printable

PET, BACKGROUND, BORDER = 1, 2, 3
#: The bits of a pixel's flags, made from a trimap: it is pet; it counts.
COUNTS_SHIFT = 1
PET_BIT, COUNTS_BIT = 1, 1 << COUNTS_SHIFT


class ExampleError(Exception):
    """One file cannot be used; the message names it and says why, in text that can be stored."""

    def __init__(self, message: str) -> None:
        """Take a message; paths in it need not be UTF-8."""
        super().__init__(printable(message))


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodedExample:
    """A decoded example.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        trimap: uint8 (H, W), values in {1, 2, 3}, with at least one 1.
    """

    image: NDArray[np.uint8]
    trimap: NDArray[np.uint8]


def decode_image(content: bytes, path: Path) -> NDArray[np.uint8]:
    """Decode a photograph to uint8 (H, W, 3) RGB, as `images` says.

    Raises:
        ExampleError: it is refused; the message names `path`.
    """
    try:
        return read_photo(content)
    except RefusedError as error:
        raise ExampleError(f"{path}: {error}") from error


def decode_trimap(content: bytes, path: Path) -> NDArray[np.uint8]:
    """Decode a trimap to uint8 (H, W) with values in {1, 2, 3} and a pet.

    Raises:
        ExampleError: it is not such a trimap; the message names `path`.
    """
    try:
        trimap = read_values(content)
    except RefusedError as error:
        raise ExampleError(f"{path}: {error}") from error
    values = np.flatnonzero(np.bincount(trimap.ravel(), minlength=1)).tolist()
    strange = sorted(set(values) - {PET, BACKGROUND, BORDER})
    if strange:
        shown = ", ".join(map(str, strange[:5])) + (", ..." if len(strange) > 5 else "")
        raise ExampleError(f"{path}: expected trimap values 1, 2 and 3, found {shown}")
    if PET not in values:
        raise ExampleError(f"{path}: the trimap has no pet (no pixel of value 1)")
    return trimap


def decode(example: Example, image: bytes, trimap: bytes) -> DecodedExample:
    """Decode the two files of an example from their content.

    Raises:
        ExampleError: either is refused, or their sizes differ; names every one of its offenders.
    """
    problems = []
    pixels: list[NDArray[np.uint8]] = []
    for decoder, content, path in (
        (decode_image, image, example.image),
        (decode_trimap, trimap, example.trimap),
    ):
        try:
            pixels.append(decoder(content, path))
        except ExampleError as error:
            problems.append(str(error))
    if not problems and pixels[0].shape[:2] != pixels[1].shape:
        sizes = [f"{p.shape[1]} x {p.shape[0]}" for p in pixels]
        problems.append(f"{example.trimap}: is {sizes[1]} pixels, but its image is {sizes[0]}")
    if problems:
        raise ExampleError("; ".join(problems))
    return DecodedExample(image=pixels[0], trimap=pixels[1])


def read_files(example: Example) -> tuple[bytes, bytes]:
    """Return the bytes of image and trimap.

    Raises:
        ExampleError: names each file that is missing, unreadable, empty or no plain file; and the
            other one, if that cannot be decoded.
    """
    contents, problems = [], []
    for path in (example.image, example.trimap):
        try:
            contents.append(read_regular_file(path))
        except OSError as error:
            problems.append(f"{path}: {error.strerror or error}")
            contents.append(b"")
    if not problems:
        return contents[0], contents[1]
    # What could be read is looked at all the same, so that everything wrong is told at once.
    decoders = (decode_image, decode_trimap)
    paths = (example.image, example.trimap)
    for decoder, content, path in zip(decoders, contents, paths, strict=True):
        try:
            if content:
                decoder(content, path)
        except ExampleError as error:
            problems.append(str(error))
    raise ExampleError("; ".join(problems))


def binary_mask(
    trimap: NDArray[np.uint8], border: str
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
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


def flags_of(border: str) -> NDArray[np.uint8]:
    """Return uint8 (256,): the flags (`PET_BIT`, `COUNTS_BIT`) of each value of a trimap.

    Args:
        border: what 3 becomes: `pet`, `background` or `ignore`.
    """
    mask, valid = binary_mask(np.arange(256, dtype=np.uint8), border)
    return mask * np.uint8(PET_BIT) | valid * np.uint8(COUNTS_BIT)
