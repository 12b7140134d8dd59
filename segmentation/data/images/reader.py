"""How the content of an image file becomes pixels, or is refused.

Photos are read by one rule. Used: JPEG, PNG and GIF (of own images WebP too) by their content,
whatever their name says; gray, palette and CMYK converted to RGB as Pillow does; transparency laid
over white; of a camera's multi-picture JPEG the first. Refused: other formats, animations, 16-bit
samples, more than `MAX_PIXELS`, and what is cut off or fails a checksum. Pixels are taken as they
are stored: the trimaps were drawn on those, so an EXIF orientation is told, but not applied, unless
an own mask has the size of the upright photo alone. Damage that Pillow's decoders mend without a
word, such as wrong bytes in the middle of a JPEG, is not seen.
"""

import contextlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

#: A larger image is refused before it is decoded; the data set's largest has 12 million pixels.
MAX_PIXELS = 64_000_000

_PHOTO_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK")
_PHOTO_FORMATS = ("JPEG", "PNG", "GIF")
#: Formats of own photos, and of masks.
OWN_FORMATS = (*_PHOTO_FORMATS, "WEBP")
_MASK_FORMATS = ("PNG", "BMP", "TIFF", "GIF", "JPEG")

# Our own limit is lower and an error; half-broken metadata does not matter to pixels.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\..*")


class RefusedError(Exception):
    """An image is not used; the message says why, as a clause about its file."""


def read_rgb(
    content: bytes, formats: tuple[str, ...] = _PHOTO_FORMATS, *, upright: bool = False
) -> NDArray[np.uint8]:
    """Decode a photograph to uint8 (H, W, 3) RGB by the rule at the head of this module.

    `upright` turns it as its EXIF says.

    Raises:
        RefusedError: it is refused.
    """
    with _opened(content, formats, _PHOTO_MODES) as image:
        if upright:
            image = ImageOps.exif_transpose(image)
        if "A" in image.getbands() or "transparency" in image.info:
            layer = image.convert("RGBA")
            image = Image.new("RGBA", layer.size, "white")
            image.alpha_composite(layer)
        return np.array(image.convert("RGB"))


def read_values(content: bytes) -> NDArray[np.uint8]:
    """Decode a PNG of one value a pixel to uint8 (H, W): its gray, or its index into the palette.

    Raises:
        RefusedError: it is no such PNG.
    """
    with _opened(content, ("PNG",), ("L", "P")) as image:
        return np.array(image)


def read_mask(content: bytes, *, blurred: bool) -> NDArray[np.uint8]:
    """Decode a mask to uint8 (H, W): its gray, or its index into the palette.

    It may be a JPEG, whose values are not those that were drawn, only where it may be `blurred`.

    Raises:
        RefusedError: it is of none of the formats, or its channels differ.
    """
    modes = ("1", "L", "LA", "P", "RGB", "RGBA")
    with _opened(content, _MASK_FORMATS, modes) as image:
        if image.format in ("JPEG", "MPO") and not blurred:
            raise RefusedError(
                "is a JPEG, which blurs a mask's values; save the mask as PNG, or say "
                "mask_threshold=128"
            )
        if image.format == "GIF":  # whoever writes one numbers the colors anew
            image = image.convert("RGB")
        values = np.array(image, np.uint8).reshape(image.height, image.width, -1)
        opaque = image.mode in ("LA", "RGBA") and (values[..., -1] == 255).all()
        first, others = values[..., :1], values[..., 1:-1] if opaque else values[..., 1:]
        if (others != first).any():
            raise RefusedError(
                "is a mask whose channels differ; save it with one value a pixel (gray or palette)"
            )
        return first[..., 0]


def exif_orientation(content: bytes) -> int:
    """Return how EXIF says that a photograph is to be turned, 2 to 8; 1: it is not."""
    # Broken EXIF says nothing.
    with (
        contextlib.suppress(Exception),
        Image.open(io.BytesIO(content), formats=OWN_FORMATS) as image,
    ):
        found: int = image.getexif()[ExifTags.Base.Orientation]
        return found if found in range(2, 9) else 1
    return 1


@contextlib.contextmanager
def _opened(
    content: bytes, formats: tuple[str, ...], modes: tuple[str, ...]
) -> Iterator[Image.Image]:
    """Open an image, decoded to the end; whatever Pillow raises meanwhile becomes a refusal."""
    try:
        image = Image.open(io.BytesIO(content), formats=formats)
        if problem := _unusable(image, modes):
            raise RefusedError(problem)
        if image.format == "PNG":
            _require_whole_png(content)
        elif image.format in ("JPEG", "MPO"):
            _require_whole_jpeg(content)
        image.load()
        yield image
    except (RefusedError, MemoryError):  # short memory is no fault of the file
        raise
    except UnidentifiedImageError as error:
        expected = f"is not a {' or '.join(formats)} file, or its head is damaged or of a rare kind"
        raise RefusedError(expected) from error
    # Pillow's decoders raise almost anything on hostile bytes, and none of it is our defect.
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise RefusedError(f"cannot be decoded ({reason})") from error


def _require_whole_png(content: bytes) -> None:
    """Refuse a PNG of which pixels are missing or wrong.

    Pillow accepts wrong checksums of pixels, missing rows, a missing palette and a missing end.
    OpenCV does not. But it prints to stderr about wrong checksums, and about faults in parts that
    have nothing to do with pixels. So checksums are compared here, and such parts left out.
    """
    at = 8
    critical = [content[:at]]
    while critical[-1][4:8] != b"IEND":
        (length,) = struct.unpack_from(">I", content, at)
        part = content[at : at + 12 + length]
        if not part[4] & 0x20:  # PNG's own mark: the first letter of the name is a capital
            checksum = int.from_bytes(part[-4:], "big")
            if len(part) < 12 + length or zlib.crc32(part[4:-4]) != checksum:
                raise RefusedError("cannot be decoded (it is cut off or has a wrong checksum)")
            critical.append(part)
        at += len(part)
    pixels = np.frombuffer(b"".join(critical), np.uint8)
    if cv2.imdecode(pixels, cv2.IMREAD_UNCHANGED) is None:
        raise RefusedError("cannot be decoded (its pixels are not all there)")


def _require_whole_jpeg(content: bytes) -> None:
    """Refuse a JPEG that does not end after its pixels begin.

    Whether Pillow notices depends on the last bits of the pixels. OpenCV always does, but it prints
    to stderr about wrong bytes within pixels too, and those are accepted here.
    """
    at, pixels, end = 2, b"\xff\xda", b"\xff\xd9"
    # Part by part, since a thumbnail in the head has such markers too. Where the head is odd, the
    # loop stops early and Pillow alone decides.
    while content[at : at + 1] == b"\xff" and content[at : at + 2] != pixels:
        is_filling = content[at + 1 : at + 2] == b"\xff"
        at += 1 if is_filling else 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    if content[at : at + 2] == pixels and content.find(end, at) < 0:
        raise RefusedError("cannot be decoded (it is cut off)")


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
