"""Writes PNGs sample by sample, also such as Pillow does not write: interlaced, of 1 to 16 bits."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

MAGIC = b"\x89PNG\r\n\x1a\n"
GRAY, RGB, PALETTE, GRAY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6

#: Adam7: first column and row of each pass, and the steps from there.
_PASSES = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)


def chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def header(width: int, height: int, depth: int, color: int, interlaced: bool = False) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced))


def png(
    samples: NDArray[np.integer],
    color: int,
    depth: int = 8,
    *,
    interlaced: bool = False,
    before: bytes = b"",
    after: bytes = b"",
) -> bytes:
    """A PNG of samples below 2 ** `depth`, (H, W) or (H, W, C), as they are.

    Args:
        samples: (H, W) or (H, W, C), values below 2 ** `depth`.
        color: the PNG's color type.
        depth: bits a sample.
        interlaced: whether by Adam7.
        before, after: further parts before and after the pixels.
    """
    steps = _PASSES if interlaced else ((0, 0, 1, 1),)
    passes = [samples[y::dy, x::dx] for x, y, dx, dy in steps]
    pixels = zlib.compress(b"".join(_rows(part, depth) for part in passes if part.size))
    first = header(samples.shape[1], samples.shape[0], depth, color, interlaced)
    return MAGIC + first + before + chunk(b"IDAT", pixels) + after + chunk(b"IEND", b"")


def _rows(samples: NDArray[np.integer], depth: int) -> bytes:
    """Rows as they are compressed, each after a byte that says 'no filter'."""
    flat = samples.reshape(len(samples), -1)
    if depth < 8:
        bits = (flat[:, :, None] >> np.arange(depth - 1, -1, -1)) & 1
        packed = np.packbits(bits.reshape(len(flat), -1).astype(np.uint8), axis=1)
    else:
        packed = np.ascontiguousarray(flat.astype(f">u{depth // 8}")).view(np.uint8)
    return b"".join(b"\0" + row.tobytes() for row in packed)
