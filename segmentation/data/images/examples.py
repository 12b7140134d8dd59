"""How an example's two files become pixels, or are refused by name; and a trimap a mask."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from segmentation.data.example import Example, Labels
from segmentation.data.images.reader import (
    OWN_FORMATS,
    RefusedError,
    exif_orientation,
    read_mask,
    read_rgb,
    read_values,
)
from segmentation.utils.files import read_regular_file
from segmentation.utils.paths import printable

Bytes = NDArray[np.uint8]
_Result = TypeVar("_Result")

#: Values of a trimap. Own masks, decoded to one, have `IGNORED` in place of a border.
PET, BACKGROUND, BORDER, IGNORED = 1, 2, 3, 4
#: The bits of a pixel's flags, made from a trimap: it is pet; it counts.
COUNTS_SHIFT = 1
PET_BIT, COUNTS_BIT = 1, 1 << COUNTS_SHIFT

_BY_EXIF = (
    " as it is stored; it is to be turned by its EXIF: draw the trimap on what is stored, or store "
    "the photo upright"
)


class ExampleError(Exception):
    """One file cannot be used; the message names it and says why, in text that can be stored."""

    def __init__(self, message: str, unclear: str = "") -> None:
        super().__init__(printable(message))  # paths in it need not be UTF-8
        self.unclear = unclear  # values of the mask that could mean anything


class _UnclearError(RefusedError):
    """The values of a mask could mean anything."""

    def __init__(self, values: str) -> None:
        super().__init__(
            f"the mask has the values {values}: say by foreground or mask_threshold what they "
            "mean, since only 0 with 1 or with 255 speak for themselves"
        )
        self.values = values


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodedExample:
    """The pixels of an example."""

    image: Bytes  # uint8 (H, W, 3), RGB
    trimap: Bytes  # uint8 (H, W) in {1, 2, 3, 4}, with at least one 1 unless masks may be empty


def decode_trimap(content: bytes) -> Bytes:
    """Decode a trimap to uint8 (H, W) with values in {1, 2, 3} and a pet.

    Raises:
        RefusedError: it is not such a trimap.
    """
    trimap = read_values(content)
    values = occurring(trimap)
    strange = sorted(set(values) - {PET, BACKGROUND, BORDER})
    if strange:
        raise RefusedError(f"expected trimap values 1, 2 and 3, found {_shown(strange)}")
    if PET not in values:
        raise RefusedError("the trimap has no pet (no pixel of value 1)")
    return trimap


def decode_mask(content: bytes, labels: Labels) -> Bytes:
    """Decode an own mask to a trimap, uint8 (H, W) with values in {1, 2, 4}, by what labels say.

    Raises:
        RefusedError: it is no mask, its values could mean anything, or it has no foreground and
            may not be so.
    """
    values = read_mask(content, blurred=labels.threshold > 0)
    found = occurring(values)
    meaning = np.full(256, BACKGROUND, np.uint8)
    meaning[list(_foreground(found, labels))] = PET
    meaning[list(labels.ignored)] = IGNORED
    trimap: Bytes = meaning[values]
    if not labels.empty and PET not in trimap:
        raise RefusedError(
            f"the mask has no foreground (values: {_shown(found)}); say empty=allow if that is "
            "meant"
        )
    return trimap


def _foreground(found: Sequence[int], labels: Labels) -> Sequence[int]:
    """Return the values that are foreground, of a mask that has these."""
    if labels.threshold:
        return range(labels.threshold, 256)
    counted = set(found) - set(labels.ignored)
    if labels.foreground or counted <= {0, 1} or counted <= {0, 255}:
        return labels.foreground or (1, 255)
    raise _UnclearError(_shown(found))


def occurring(values: Bytes) -> list[int]:
    """Return the values that occur in uint8 (H, W), rising."""
    found: list[int] = np.flatnonzero(np.bincount(values.ravel(), minlength=1)).tolist()
    return found


def _shown(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:5])) + (", ..." if len(values) > 5 else "")


def decode(example: Example, image: bytes, mask: bytes) -> DecodedExample:
    """Decode the two files of an example from their contents.

    Raises:
        ExampleError: either is refused, or their sizes differ; names every one of its offenders.
    """
    contents = {example.image: image, example.mask: mask}
    pixels, trimap = _each_file(example, lambda path, decoder: decoder(contents[path]))
    own = not example.labels.trimap
    turned = pixels.shape[:2] != trimap.shape and exif_orientation(image) != 1
    if own and turned:
        pixels = read_rgb(image, OWN_FORMATS, upright=True)
    if pixels.shape[:2] != trimap.shape:
        sizes = [f"{p.shape[1]} x {p.shape[0]}" for p in (pixels, trimap)]
        text = f"{example.mask}: is {sizes[1]} pixels, but its image is {sizes[0]}"
        raise ExampleError(text + _BY_EXIF * (turned and not own))
    return DecodedExample(image=pixels, trimap=trimap)


def note_on_turned(names: Sequence[str], labels: Labels) -> list[str]:
    """Return a line about images that EXIF says are to be turned; none where there are none."""
    if not names:
        return []
    some = ", ".join(names[:3]) + ", ..." * (len(names) > 3)
    how = "they are taken as they are stored, and so must their trimaps be drawn"
    if not labels.trimap:
        how = "they are turned where only that gives the mask's size, else taken as they are stored"
        how += ": look at square ones, and at those that are upside down"
    return [f"Note: photos that EXIF says are to be turned: {len(names)} ({some}); {how}"]


def read_files(example: Example) -> tuple[bytes, bytes]:
    """Return the bytes of image and mask.

    Raises:
        ExampleError: names each file that is missing, unreadable, empty or no plain file; and the
            other one, if that cannot be decoded.
    """
    try:
        image, mask = _each_file(example, lambda path, _: read_regular_file(path))
    except ExampleError:
        # What could be read is decoded all the same, so that everything wrong is told at once.
        _each_file(example, lambda path, decoder: decoder(read_regular_file(path)))
        raise
    return image, mask


def _each_file(
    example: Example, function: Callable[[Path, Callable[[bytes], Bytes]], _Result]
) -> list[_Result]:
    """Call a function with path and decoder of image and mask; name both in the error."""
    results, problems, unclear, labels = [], [], "", example.labels
    decoders: list[Callable[[bytes], Bytes]] = [read_rgb, decode_trimap]
    if not labels.trimap:
        decoders = [partial(read_rgb, formats=OWN_FORMATS), partial(decode_mask, labels=labels)]
    for path, decoder in zip((example.image, example.mask), decoders, strict=True):
        try:
            results.append(function(path, decoder))
        except RefusedError as error:
            problems.append(f"{path}: {error}")
            unclear = getattr(error, "values", "")
        except OSError as error:
            problems.append(f"{path}: {error.strerror or error}")
    if problems:
        raise ExampleError("; ".join(problems), unclear)
    return results


def binary_mask(trimap: Bytes, border: str) -> tuple[Bytes, Bytes]:
    """Return the mask that is learned and the pixels that count, uint8 in {0, 1}, of a trimap.

    3 becomes `border`: `pet`, `background` or `ignore`. What is ignored is 0 in both.
    """
    mask = (trimap == PET) | ((trimap == BORDER) & (border == "pet"))
    valid = (trimap != IGNORED) & ((trimap != BORDER) | (border != "ignore"))
    return mask.astype(np.uint8), valid.astype(np.uint8)


def flags_of(border: str) -> Bytes:
    """Return uint8 (256,): the flags (`PET_BIT`, `COUNTS_BIT`) of each value of a trimap."""
    mask, valid = binary_mask(np.arange(256, dtype=np.uint8), border)
    return mask * np.uint8(PET_BIT) | valid * np.uint8(COUNTS_BIT)
