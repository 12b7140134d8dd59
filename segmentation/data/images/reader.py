"""How the content of an image file becomes pixels, or is refused.

Photos are read by one rule. Used: JPEG, PNG and GIF by their content, whatever their name says;
grey, palette and CMYK converted to RGB as Pillow does; transparency laid over white; of a camera's
multi-picture JPEG the first. Refused: other formats, animations, 16-bit samples, more than
`MAX_PIXELS`, and what is cut off or fails a checksum. Pixels are taken as they are stored: the
trimaps were drawn on those, so an EXIF orientation is not applied. Damage that Pillow's decoders
mend without a word, such as wrong bytes in the middle of a JPEG, is not seen.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from segmentation.data.images.jpeg import is_cut_off
from segmentation.data.images.png import MAGIC, damage_of

#: A larger image is refused before it is decoded; the data set's largest has 12 million pixels.
MAX_PIXELS = 64_000_000

_BEGINNINGS = {"JPEG": (b"\xff\xd8\xff",), "PNG": (MAGIC,), "GIF": (b"GIF87a", b"GIF89a")}
_PHOTO_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK")

# Our own limit is lower and an error; half-broken metadata does not matter to pixels.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\..*")


class RefusedError(Exception):
    """An image is not used; the message says why, as a clause about its file."""


def read_photo(content: bytes) -> NDArray[np.uint8]:
    """Decode a photograph to uint8 (H, W, 3) RGB by the rule at the head of this module.

    Raises:
        RefusedError: it is refused.
    """
    formats = ("JPEG", "PNG", "GIF")
    with _refusing(content, formats), _opened(content, formats, _PHOTO_MODES) as image:
        if "A" in image.getbands() or "transparency" in image.info:
            layer = image.convert("RGBA")
            image = Image.new("RGBA", layer.size, "white")
            image.alpha_composite(layer)
        return np.array(image.convert("RGB"))


def read_values(content: bytes) -> NDArray[np.uint8]:
    """Decode a PNG of one value a pixel to uint8 (H, W): its grey, or its index into the palette.

    Raises:
        RefusedError: it is no such PNG.
    """
    with _refusing(content, ("PNG",)), _opened(content, ("PNG",), ("L", "P")) as image:
        return np.array(image)


@contextlib.contextmanager
def _refusing(content: bytes, formats: tuple[str, ...]) -> Iterator[None]:
    """Turn whatever Pillow raises into a refusal."""
    try:
        yield
    except (RefusedError, MemoryError):  # short memory is no fault of the file
        raise
    except UnidentifiedImageError as error:
        raise RefusedError(_unidentified(content, formats)) from error
    # Pillow's decoders raise almost anything on hostile bytes, and none of it is our defect.
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise RefusedError(f"cannot be decoded ({reason})") from error


def _unidentified(content: bytes, formats: tuple[str, ...]) -> str:
    """Say why Pillow does not open a file: it begins wrongly, or goes on so."""
    for name in formats:
        if content.startswith(_BEGINNINGS[name]):
            return f"cannot be decoded (the head of this {name} is damaged, or of a rare kind)"
    return f"is not a {' or '.join(formats)} file"


def _opened(content: bytes, formats: tuple[str, ...], modes: tuple[str, ...]) -> Image.Image:
    """Open and decode an image to the end."""
    image = Image.open(io.BytesIO(content), formats=formats)
    if problem := _unusable(image, modes):
        raise RefusedError(problem)
    damage = damage_of(content) if image.format == "PNG" else None
    if image.format in ("JPEG", "MPO") and is_cut_off(content):
        damage = "it is cut off"
    if damage:
        raise RefusedError(f"cannot be decoded ({damage})")
    image.load()
    return image


def _unusable(image: Image.Image, modes: tuple[str, ...]) -> str | None:
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
