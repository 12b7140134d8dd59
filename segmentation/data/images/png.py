"""Finds damage of a PNG that Pillow does not look for, or mends without a word."""

import struct
import zlib
from collections.abc import Sequence

MAGIC = b"\x89PNG\r\n\x1a\n"

_PALETTE = 3
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
#: Column and row at which each pass of an interlaced PNG begins, and the steps from there.
_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_AT_ONCE = 2**20


def damage_of(content: bytes) -> str | None:
    """Say what is wrong with the pixels of a PNG that Pillow opens, or None.

    Pillow takes rows that are not there for black, paints black without a palette, does not compare
    the checksums of the parts that hold pixels, and does not miss the end. Parts that have nothing
    to do with pixels are left to it.

    Raises:
        zlib.error: the pixels are not what zlib compresses.
    """
    view, at, pixels, has_palette = memoryview(content), len(MAGIC), [], False
    while at + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        end = at + 8 + length
        if end + 4 > len(content):
            break
        (checksum,) = struct.unpack_from(">I", content, end)
        critical = not kind[0] & 0x20  # PNG's own mark: the first letter is a capital
        if critical and zlib.crc32(view[at + 4 : end]) != checksum:
            return f"its part {kind.decode('ascii', 'replace')} has a wrong checksum"
        has_palette |= kind == b"PLTE"
        if kind == b"IDAT":
            pixels.append(view[at + 8 : end])
        if kind == b"IEND":
            return _lack(content, pixels, has_palette)
        at = end + 4
    return "it is cut off"


def _lack(content: bytes, pixels: Sequence[memoryview], has_palette: bool) -> str | None:
    """Say what a whole PNG lacks by its own head, or None."""
    head = struct.unpack_from(">IIBBBBB", content, len(MAGIC) + 8)
    if head[3] == _PALETTE and not has_palette:
        return "its palette is missing"
    return "rows are missing" if _is_short(pixels, _bytes_of_rows(*head)) else None


def _bytes_of_rows(
    width: int, height: int, depth: int, colour: int, _: int, __: int, interlaced: int
) -> int:
    """Return how many bytes the rows take before compression."""
    total = 0
    for x, y, dx, dy in _PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - x) // dx), -(-(height - y) // dy)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * depth * _CHANNELS[colour] // 8))
    return total


def _is_short(parts: Sequence[memoryview], wanted: int) -> bool:
    """Tell whether parts decompress to fewer than `wanted` bytes; more are not made of them."""
    inflater = zlib.decompressobj()
    for part in parts:
        rest: memoryview | bytes = part
        while wanted > 0 and (done := inflater.decompress(rest, min(wanted, _AT_ONCE))):
            wanted -= len(done)
            rest = inflater.unconsumed_tail
    return wanted > 0
