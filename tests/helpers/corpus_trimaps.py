"""What may lie under a trimap's name: used where its samples are 1, 2 and 3, else refused."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tests.helpers.corpus import Bytes, Content, Found, cut, saved
from tests.helpers.png import GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA, chunk, png, spans


def usable(trimap: Bytes, random: np.random.Generator) -> Iterator[Found]:
    """Samples of 1, 2 and 3, however they are packed and whatever colour they are shown in."""
    colours = chunk(b"PLTE", random.bytes(12))
    kinds = {
        "trimap": [
            saved(trimap, "PNG"),
            png(trimap, GREY, interlaced=True),
            png(trimap, GREY, pieces=4),
            png(trimap, GREY, before=chunk(b"gAMA", struct.pack(">I", 45_455))),
            png(trimap, GREY, before=chunk(b"tRNS", struct.pack(">H", 1))),
        ],
        "trimap, palette": [
            png(trimap, PALETTE, before=colours),
            png(trimap, PALETTE, 4, before=colours),
            png(trimap, PALETTE, 2, before=colours, interlaced=True),
            png(trimap, PALETTE, before=colours + chunk(b"tRNS", b"\0\0\xff")),
        ],
    }
    for kind, contents in kinds.items():
        for content in contents:
            yield Found(kind=kind, content=content, pixels=trimap)
    whole = np.ones_like(trimap)
    yield Found(kind="trimap, all pet", content=png(whole, GREY), pixels=whole)


def values(trimap: Bytes, random: np.random.Generator) -> Iterator[Found]:
    """Other samples than 1, 2 and 3, or no 1 among them."""
    mask = (trimap == 1).astype(np.uint8)
    ramp = np.arange(trimap.size).reshape(trimap.shape) % 256
    one = trimap.copy()
    one[0, 0] = 4
    strange = [trimap - 1, trimap * 85, mask, mask * 255, one, ramp, trimap * 0, trimap + 1]
    for samples in strange:
        yield _values(png(samples.astype(np.uint8), GREY))
    colours = chunk(b"PLTE", bytes(range(12)))
    yield _values(png(trimap - 1, PALETTE, before=colours))
    for depth in (2, 4):  # grey of few bits means shares of white, not numbers
        yield _values(png(trimap, GREY, depth))
    for samples in (trimap * 0 + 2, trimap * 0 + 3, np.where(trimap == 1, 3, trimap)):
        content = png(samples.astype(np.uint8), GREY)
        yield Found(kind="trimap without a pet", content=content, reason="the trimap has no pet")


def formats(trimap: Bytes, random: np.random.Generator) -> Iterator[Found]:
    """Other samples than one of 8 bits a pixel, other formats than PNG."""
    colour = np.repeat(trimap[..., None], 3, axis=2)
    opaque = np.full((*trimap.shape, 1), 255, np.uint8)
    for content in (
        png(colour, RGB),
        png(np.dstack([colour, opaque]), RGB_ALPHA),
        png(np.dstack([trimap[..., None], opaque]), GREY_ALPHA),
        png((trimap == 1).astype(np.uint8), GREY, 1),
    ):
        yield _kind(content, "has samples of Pillow mode")
    yield _kind(png(trimap.astype(np.uint16), GREY, 16), "has 16 bits a sample")
    yield _kind(png(trimap.astype(np.uint16) * 257, GREY, 16), "has 16 bits a sample")
    for name in ("JPEG", "GIF", "BMP", "TIFF", "WEBP"):
        yield _kind(saved(trimap, name), "is not a PNG file")
    for content in (b"1 2 3\n", bytes(200), random.bytes(300)):
        yield _kind(content, "is not a PNG file")
    frames = [Image.fromarray(4 - trimap)]
    content = saved(trimap, "PNG", save_all=True, append_images=frames)
    yield _kind(content, "is an animation of 2 frames")


def sizes(trimap: Bytes, random: np.random.Generator) -> Iterator[Found]:
    """Other sizes than the photo's."""
    height, width = trimap.shape
    for samples in (
        trimap[:, 1:],
        trimap[1:],
        trimap[::2, ::2],
        np.pad(trimap, 1, constant_values=2),
        trimap.repeat(2, axis=0),
        *([trimap.T] if height != width else []),
    ):
        reason = f"is {samples.shape[1]} x {samples.shape[0]} pixels, but its image is"
        content = png(samples, GREY)
        yield Found(kind="trimap of another size", content=content, reason=reason)


def damaged(trimap: Bytes, random: np.random.Generator) -> Iterator[Found]:
    """Trimaps that are cut off, or have a wrong bit somewhere."""
    content = png(trimap, GREY, pieces=2)
    places = [1, 4, 7, 8]
    for start, end in spans(content):
        places += [start + 2, start + 6, (start + end) // 2, end - 4, end - 1]
    yield from cut("trimap, cut", content, places, magic=8)
    for place in random.choice(np.arange(8, len(content)), 24, replace=False):
        wrong = bytearray(content)
        wrong[place] ^= 1 << int(random.integers(8))
        yield Found(
            kind="trimap with a wrong bit", content=bytes(wrong), reason="cannot be decoded ("
        )


def no_files(trimap: Bytes, random: np.random.Generator) -> Iterator[Found]:
    """No file at all, none with an end."""
    makers: list[tuple[Content, str]] = [
        (b"", "the file is empty"),
        (lambda path: None, "No such file"),
        (Path.mkdir, "is not a plain file"),
        (os.mkfifo, "is not a plain file"),
        (lambda path: path.symlink_to(path.name), "symbolic links"),
    ]
    for make, reason in makers:
        yield Found(kind="trimap, missing or no file", content=make, reason=reason)


def _values(content: bytes) -> Found:
    reason = "expected trimap values 1, 2 and 3, found "
    return Found(kind="trimap with other values", content=content, reason=reason)


def _kind(content: bytes, reason: str) -> Found:
    return Found(kind="trimap of another kind", content=content, reason=reason)
