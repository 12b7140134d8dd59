"""How a file becomes pixels, or is refused by name; and how a trimap becomes a mask.

Images are read by one rule. Used: JPEG, PNG and GIF by their content, whatever their name says;
grey, palette and CMYK converted to RGB as Pillow does; transparency laid over white; of a camera's
multi-picture JPEG the first. Refused by name: other formats, animations, 16-bit samples, and more
than `MAX_PIXELS`. Pixels are taken as they are stored: the trimaps were drawn on those, so an EXIF
orientation is not applied. Damage that Pillow's decoders mend without a word, such as wrong bytes
in the middle of a JPEG, is not seen.
"""

import dataclasses
import io
import stat
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from segmentation.pets import Example

#: A larger image is refused before it is decoded; the data set's largest has 12 million pixels.
MAX_PIXELS = 64_000_000
_MAX_BYTES = 256 * 2**20

PET, BACKGROUND, BORDER = 1, 2, 3
#: The bits of a pixel's flags, made from a trimap: it is pet; it counts.
COUNTS_SHIFT = 1
PET_BIT, COUNTS_BIT = 1, 1 << COUNTS_SHIFT
_IMAGE_FORMATS = ("JPEG", "PNG", "GIF")
_IMAGE_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK")
_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)

# Our own limit is lower and an error; half-broken metadata does not matter to pixels.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\..*")


class ExampleError(Exception):
    """One file cannot be used; the message names it and says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pixels:
    """A decoded example.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        trimap: uint8 (H, W), values in {1, 2, 3}, with at least one 1.
    """

    image: NDArray[np.uint8]
    trimap: NDArray[np.uint8]


def decode_image(content: bytes, path: Path) -> NDArray[np.uint8]:
    """Decode a photograph to uint8 (H, W, 3) RGB by the rule at the head of this module.

    Raises:
        ExampleError: it is refused; the message names `path`.
    """
    with _open(content, path, _IMAGE_FORMATS, _IMAGE_MODES) as image:
        if "A" in image.getbands() or "transparency" in image.info:
            layer = image.convert("RGBA")
            image = Image.new("RGBA", layer.size, "white")
            image.alpha_composite(layer)
        return np.array(image.convert("RGB"))


def decode_trimap(content: bytes, path: Path) -> NDArray[np.uint8]:
    """Decode a trimap to uint8 (H, W) with values in {1, 2, 3} and a pet.

    Raises:
        ExampleError: it is not such a trimap; the message names `path`.
    """
    with _open(content, path, ("PNG",), ("L", "P")) as image:
        trimap = np.array(image)
    values = np.flatnonzero(np.bincount(trimap.ravel(), minlength=1)).tolist()
    strange = sorted(set(values) - {PET, BACKGROUND, BORDER})
    if strange:
        shown = ", ".join(map(str, strange[:5])) + (", ..." if len(strange) > 5 else "")
        raise ExampleError(f"{path}: expected trimap values 1, 2 and 3, found {shown}")
    if PET not in values:
        raise ExampleError(f"{path}: the trimap has no pet (no pixel of value 1)")
    return trimap


def decode(example: Example, image: bytes, trimap: bytes) -> Pixels:
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
    return Pixels(image=pixels[0], trimap=pixels[1])


def read_files(example: Example) -> tuple[bytes, bytes]:
    """Return the bytes of image and trimap.

    Raises:
        ExampleError: names each file that is missing, unreadable, empty or no plain file.
    """
    contents, problems = [], []
    for path in (example.image, example.trimap):
        try:
            contents.append(read_plain(path))
        except OSError as error:
            problems.append(f"{path}: {error.strerror or error}")
    if problems:
        raise ExampleError("; ".join(problems))
    return contents[0], contents[1]


def read_plain(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        OSError: it cannot be read, is empty, larger than 256 MiB, or no plain file.
    """
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):  # a pipe or a device would be read for ever
        raise OSError("is not a plain file")
    if not 0 < facts.st_size <= _MAX_BYTES:
        size = "empty" if not facts.st_size else f"larger than {_MAX_BYTES:,} bytes"
        raise OSError(f"the file is {size}")
    return path.read_bytes()


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


def _open(
    content: bytes, path: Path, formats: tuple[str, ...], modes: tuple[str, ...]
) -> Image.Image:
    """Open and decode an image to the end, or say why it is refused."""
    try:
        image = Image.open(io.BytesIO(content), formats=formats)
        problem = _refusal(image, modes)
        if problem is None:
            image.load()
    except _UNREADABLE as error:
        if isinstance(error, UnidentifiedImageError):
            problem = f"is not a {' or '.join(formats)} file"
        else:
            problem = f"cannot be decoded ({error})"
    if problem:
        raise ExampleError(f"{path}: {problem}")
    return image


def _refusal(image: Image.Image, modes: tuple[str, ...]) -> str | None:
    """Say why an image is not used, from its header alone, or None."""
    frames = getattr(image, "n_frames", 1) if image.format != "MPO" else 1
    if image.width * image.height > MAX_PIXELS:
        return f"has {image.width} x {image.height} pixels; at most {MAX_PIXELS:,} are read"
    if frames > 1:
        return f"is an animation of {frames} frames; expected one picture"
    if any(";16" in str(tile) for tile in getattr(image, "tile", ())):
        return "has 16 bits a sample; expected 8"  # Pillow would drop half of them
    if image.mode not in modes:
        return f"has samples of Pillow mode {image.mode}; expected one of {', '.join(modes)}"
    return None
