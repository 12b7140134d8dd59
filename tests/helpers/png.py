"""Parts of PNGs, to make such as no program writes."""

import struct
import zlib

MAGIC = b"\x89PNG\r\n\x1a\n"
RGB, PALETTE = 2, 3


def chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def header(width: int, height: int, depth: int, color: int) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
