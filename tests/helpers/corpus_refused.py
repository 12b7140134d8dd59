"""What may lie under a photo's name and is refused, each kind with its reason."""

import base64
import os
import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tests.helpers.corpus import Bytes, Content, Found, cut, saved
from tests.helpers.png import (
    GREY,
    GREY_ALPHA,
    MAGIC,
    PALETTE,
    RGB,
    RGB_ALPHA,
    chunk,
    header,
    png,
    spans,
)

NO_PHOTO = "is not a JPEG or PNG or GIF file"
_BROKEN = "cannot be decoded ("


def cut_jpegs(rgb: Bytes, random: np.random.Generator) -> Iterator[Found]:
    """JPEGs that end in the magic, in each segment of the head, in the data, before the end."""
    for kind, progressive in (("cut JPEG", False), ("cut JPEG, progressive", True)):
        content = saved(rgb, "JPEG", quality=90, progressive=progressive)
        places, at = [1, 2], 2
        while content[at + 1] != 0xDA:  # the start of the data
            (length,) = struct.unpack_from(">H", content, at + 2)
            places += [at + 3, at + 4 + length // 2]
            at += 2 + length
        data = len(content) - at
        places += [at + 1, at + 6, at + data // 4, at + data // 2, at + data * 9 // 10]
        places += [len(content) - 2, len(content) - 1]
        yield from cut(kind, content, places, magic=3)


def cut_pngs(rgb: Bytes, random: np.random.Generator) -> Iterator[Found]:
    """PNGs that end in the magic, and in length, type, data and checksum of each part."""
    text = chunk(b"tEXt", b"Title\0a pet")
    for kind, interlaced in (("cut PNG", False), ("cut PNG, interlaced", True)):
        content = png(rgb, RGB, before=text, pieces=2, interlaced=interlaced)
        places = [1, 4, 7, 8]
        for start, end in spans(content):
            places += [start + 2, start + 6, (start + end) // 2, end - 4, end - 1]
        for found in cut(kind, content, places, magic=8):
            yield _taken(found)


def cut_gifs(rgb: Bytes, random: np.random.Generator) -> Iterator[Found]:
    """GIFs that end in the magic, the screen, the palette, the picture's head, its data."""
    content = saved(Image.fromarray(rgb).quantize(32), "GIF")
    picture = content.index(b",", 13 + 3 * 32)
    data = len(content) - picture - 10
    places = [2, 5, 6, 9, 13, 30, picture, picture + 1, picture + 6, picture + 10]
    places += [picture + 11, picture + 10 + data // 3, picture + 10 + data * 2 // 3]
    yield from cut("cut GIF", content, places, magic=6)


def flipped_pngs(rgb: Bytes, random: np.random.Generator) -> Iterator[Found]:
    """PNGs with one wrong bit, in the data or the checksum of each part that matters."""
    content = png(rgb, RGB, pieces=3)
    for start, end in spans(content):
        for place in (start + 5, random.integers(start + 8, max(end - 4, start + 9)), end - 2):
            wrong = bytearray(content)
            wrong[place] ^= 1 << int(random.integers(8))
            yield _taken(Found(kind="PNG with a wrong bit", content=bytes(wrong), reason=_BROKEN))


def strange_pngs(rgb: Bytes, random: np.random.Generator) -> Iterator[Found]:
    """PNGs whose checksums hold and that are wrong all the same."""
    height, width = rgb.shape[:2]
    end = chunk(b"IEND", b"")
    rows = b"".join(b"\0" + row.tobytes() for row in rgb)
    head = MAGIC + header(width, height, 8, RGB)
    contents = {
        "too few rows": head + chunk(b"IDAT", zlib.compress(rows[: len(rows) // 2])) + end,
        "no data": head + end,
        "no zlib": head + chunk(b"IDAT", random.bytes(200)) + end,
        "unknown filter": head + chunk(b"IDAT", zlib.compress(b"\x09" + rows[1:])) + end,
        "no width": MAGIC + header(0, height, 8, RGB) + chunk(b"IDAT", zlib.compress(b"")) + end,
        "no such depth": MAGIC + header(width, height, 3, RGB) + chunk(b"IDAT", rows) + end,
        "no such colour": MAGIC + header(width, height, 8, 5) + chunk(b"IDAT", rows) + end,
        "head without end": MAGIC + struct.pack(">I", 2**31 - 1) + b"IHDR" + rows,
        "no palette": png(rgb[..., 0], PALETTE),
        "short head": MAGIC + chunk(b"IHDR", b"\0\0\0\1") + chunk(b"IDAT", rows) + end,
    }
    for content in contents.values():
        yield _taken(Found(kind="PNG that breaks its own rules", content=content, reason=_BROKEN))


def many_bits(rgb: Bytes, random: np.random.Generator) -> Iterator[Found]:
    """More than 8 bits a sample."""
    wide = rgb.astype(np.uint16) * 257
    alpha = np.full((*rgb.shape[:2], 1), 65535, np.uint16)
    contents = [
        png(wide[..., 0], GREY, 16),
        png(wide, RGB, 16),
        png(wide, RGB, 16, interlaced=True),
        png(np.dstack([wide[..., :1], alpha]), GREY_ALPHA, 16),
        png(np.dstack([wide, alpha]), RGB_ALPHA, 16),
    ]
    for content in contents:
        yield Found(kind="16 bits a sample", content=content, reason="has 16 bits a sample")


def rare_jpegs(rgb: Bytes, random: np.random.Generator) -> Iterator[Found]:
    """JPEGs of 12 bits, of processes that nobody writes, of impossible heads."""
    content = saved(rgb, "JPEG")
    frame = content.index(b"\xff\xc0")
    twelve, process, flat, layers = (bytearray(content) for _ in range(4))
    twelve[frame + 4] = 12
    process[frame + 1] = 0xC5
    flat[frame + 5 : frame + 7] = b"\0\0"
    layers[frame + 9] = 2
    yield Found(kind="JPEG of 12 bits", content=bytes(twelve), reason=_BROKEN)
    for wrong in (process, flat, layers):
        yield Found(
            kind="JPEG that breaks its own rules", content=bytes(wrong), reason=_BROKEN, taken=True
        )


def animations(rgb: Bytes, random: np.random.Generator) -> Iterator[Found]:
    """Several pictures in one file."""
    for count in (2, 5):
        others = [Image.fromarray(rgb + np.uint8(9 * n)) for n in range(1, count)]
        for kind in ("GIF", "PNG"):
            yield Found(
                kind="animation",
                content=saved(rgb, kind, save_all=True, append_images=others),
                reason=f"is an animation of {count} frames",
            )


def strange_gifs(rgb: Bytes, random: np.random.Generator) -> Iterator[Found]:
    """GIFs without a picture, or with a broken one."""
    content = saved(Image.fromarray(rgb).quantize(32), "GIF")
    picture = content.index(b",", 13 + 3 * 32)
    head = b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0, 0, 0)
    contents = [
        head + b";",
        head + b"!\xfe\x05hello\0;",
        head + b"," + struct.pack("<4HB", 0, 0, 8, 8, 0) + b"\x02\0;",
        head + b"," + struct.pack("<4HB", 0, 0, 8, 8, 0) + b"\x0d\x01\0\0;",
        content[: picture + 10] + b"\x3f" + content[picture + 11 :],
    ]
    for wrong in contents:
        yield Found(kind="GIF without a picture", content=wrong, reason=_BROKEN)


def bombs(rgb: Bytes, random: np.random.Generator) -> Iterator[Found]:
    """Little files that would become large pictures or texts."""
    for width, height in ((9_000, 8_000), (20_000, 20_000), (2**31 - 1, 2**31 - 1)):
        content = MAGIC + header(width, height, 8, RGB) + chunk(b"IDAT", zlib.compress(b""))
        small = width * height < 80_000_000
        reason = f"has {width} x {height} pixels; at most" if small else "exceeds limit"
        yield Found(kind="decompression bomb", content=content, reason=reason)
    jpeg = bytearray(saved(rgb, "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    yield Found(kind="decompression bomb", content=bytes(jpeg), reason="exceeds limit")
    gif = bytearray(saved(Image.fromarray(rgb).quantize(32), "GIF"))
    gif[6:10] = b"\x28\x23\x40\x1f"  # 9,000 x 8,000
    yield Found(kind="decompression bomb", content=bytes(gif), reason="at most 64,000,000")
    packed = zlib.compress(bytes(3_000_000), 9)
    for part in (
        chunk(b"zTXt", b"a\0\0" + packed),
        chunk(b"iTXt", b"a\0\1\0\0\0" + packed),
    ):
        yield Found(
            kind="decompression bomb", content=png(rgb, RGB, before=part), reason="too large"
        )


def other_files(rgb: Bytes, random: np.random.Generator) -> Iterator[Found]:
    """Files of another kind."""
    for name in ("BMP", "TIFF", "PPM", "ICO", "TGA", "PCX", "SGI", "DDS", "JPEG2000", "AVIF"):
        content = saved(rgb, name)
        yield Found(kind="another format", content=content, reason=NO_PHOTO)
    webp = saved(rgb, "WEBP", lossless=True)
    yield Found(kind="another format", content=webp, reason=NO_PHOTO, displayed=rgb)
    jpeg = saved(rgb, "JPEG")
    texts = [
        b"<svg xmlns='http://www.w3.org/2000/svg' width='8' height='8'/>",
        b"<!DOCTYPE html><html><title>404 Not Found</title></html>",
        b"a pet\n",
        b"\xef\xbb\xbf" + jpeg,
        b"%PDF-1.7\n" + jpeg,
        b"PK\x03\x04" + bytes(60),
        base64.b64encode(jpeg),
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    ]
    for content in texts:
        yield Found(kind="no image", content=content, reason=NO_PHOTO)
    for content in (bytes(1), bytes(100), bytes(5000), random.bytes(500), b"\xff" * 500):
        yield Found(kind="zeros and noise", content=content, reason=NO_PHOTO)
    for magic in (b"\0\xd8\xff", b"\xff\xd9\xff", b"\xff\xd8\0"):
        yield Found(kind="wrong magic", content=magic + jpeg[3:], reason=NO_PHOTO)
    for place in range(8):
        changed = bytearray(png(rgb, RGB))
        changed[place] ^= 0x20
        yield Found(kind="wrong magic", content=bytes(changed), reason=NO_PHOTO)
    for magic in (b"GIF88a", b"gif89a", b"JIF89a"):
        gif = magic + saved(Image.fromarray(rgb).quantize(8), "GIF")[6:]
        yield Found(kind="wrong magic", content=gif, reason=NO_PHOTO)


def no_files(rgb: Bytes, random: np.random.Generator) -> Iterator[Found]:
    """What is there, if anything, is no file that could be read to its end."""
    yield Found(kind="empty file", content=b"", reason="the file is empty")
    plain = "is not a plain file"
    makers: list[tuple[str, Content, str]] = [
        ("missing file", lambda path: None, "No such file"),
        ("missing file", lambda path: path.symlink_to("nowhere"), "No such file"),
        ("link in a circle", lambda path: path.symlink_to(path.name), "symbolic links"),
        ("not a plain file", Path.mkdir, plain),
        ("not a plain file", os.mkfifo, plain),
        ("not a plain file", _socket, plain),
        ("not a plain file", lambda path: path.symlink_to("/dev/zero"), plain),
        ("not a plain file", lambda path: path.symlink_to("."), plain),
    ]
    if os.geteuid():  # whom nothing is forbidden reads it
        makers.append(("unreadable file", lambda path: path.touch(0), "Permission denied"))
    for kind, make, reason in makers:
        yield Found(kind=kind, content=make, reason=reason)


def _socket(path: Path) -> None:
    """Leave a socket's file; its name may have a hundred bytes, so it is made from nearby."""
    here = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


def _taken(found: Found) -> Found:
    """`predict` reads with Pillow alone, which does not look at checksums nor for the end."""
    return Found(kind=found.kind, content=found.content, reason=found.reason, taken=True)
