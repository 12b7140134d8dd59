"""Writes PNGs sample by sample, also such as Pillow does not write: interlaced, of 1 to 16 bits."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

MAGIC = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6

#: Adam7: first column and row of each pass, and the steps from there.
_PASSES = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)


def chunk(kind: bytes, content: bytes) -> bytes:
    """One part of a PNG, with its checksum."""
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def header(width: int, height: int, depth: int, colour: int, interlaced: bool = False) -> bytes:
    """The part IHDR."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))


def png(
    samples: NDArray[np.integer],
    colour: int,
    depth: int = 8,
    *,
    interlaced: bool = False,
    before: bytes = b"",
    after: bytes = b"",
    pieces: int = 1,
) -> bytes:
    """A PNG of samples, (H, W) or (H, W, C), as they are.

    Args:
        samples: values below 2 ** `depth`.
        colour: the PNG's colour type.
        depth: bits a sample.
        interlaced: whether by Adam7.
        before, after: further parts before and after the pixels.
        pieces: into how many parts the pixels are cut.
    """
    steps = _PASSES if interlaced else ((0, 0, 1, 1),)
    passes = [samples[y::dy, x::dx] for x, y, dx, dy in steps]
    data = zlib.compress(b"".join(_rows(part, depth) for part in passes if part.size))
    size = -(-len(data) // pieces)
    cut = [chunk(b"IDAT", data[at : at + size]) for at in range(0, len(data), size)]
    first = header(samples.shape[1], samples.shape[0], depth, colour, interlaced)
    return MAGIC + first + before + b"".join(cut) + after + chunk(b"IEND", b"")


def spans(content: bytes) -> list[tuple[int, int]]:
    """Where each part of a PNG begins and ends."""
    found, at = [], len(MAGIC)
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        found.append((at, at + 12 + length))
        at += 12 + length
    return found


def _rows(samples: NDArray[np.integer], depth: int) -> bytes:
    """Rows as they are compressed, each after a byte that says 'no filter'."""
    flat = samples.reshape(len(samples), -1)
    if depth < 8:
        bits = (flat[:, :, None] >> np.arange(depth - 1, -1, -1)) & 1
        packed = np.packbits(bits.reshape(len(flat), -1).astype(np.uint8), axis=1)
    else:
        packed = np.ascontiguousarray(flat.astype(f">u{depth // 8}")).view(np.uint8)
    return b"".join(b"\0" + row.tobytes() for row in packed)
