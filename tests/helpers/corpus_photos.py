"""What may lie under a photo's name and is used: each with the pixels as which it is to be used."""

import io
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tests.helpers.corpus import Bytes, Content, Found, saved, shown
from tests.helpers.png import GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA, chunk, png

_ORIENTATION = 0x0112
#: How the stored pixels are displayed, by EXIF's number.
_UPRIGHT: dict[int, Callable[[Bytes], Bytes]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: lambda pixels: np.rot90(pixels),
}


def jpegs(rgb: Bytes, random: np.random.Generator) -> Iterator[Found]:
    """JPEGs of several kinds, as Pillow decodes them."""
    options: list[dict[str, object]] = [
        {"quality": 75},
        {"quality": 95, "subsampling": 0},
        {"quality": 90, "progressive": True},
        {"quality": 80, "optimize": True},
        {"quality": 85, "restart_marker_rows": 1},
        {"quality": 85, "comment": b"a pet"},
    ]
    contents = [saved(rgb, "JPEG", **some) for some in options]
    contents.append(saved(rgb, "JPEG", quality=70) + b"bytes after the end")
    for content in contents:
        yield Found(kind="JPEG", content=content, pixels=shown(content))
    grey = saved(Image.fromarray(rgb).convert("L"), "JPEG")
    yield Found(kind="JPEG, grey", content=grey, pixels=shown(grey))
    others = [Image.fromarray(255 - rgb)]
    content = saved(rgb, "MPO", save_all=True, append_images=others, quality=95)
    yield Found(kind="JPEG of several pictures", content=content, pixels=shown(content))


def cmyk(rgb: Bytes, random: np.random.Generator) -> Iterator[Found]:
    """A JPEG of four inks, of which each colour takes away light and black takes all."""
    for quality in (90, 95):
        content = saved(Image.fromarray(rgb).convert("CMYK"), "JPEG", quality=quality)
        with Image.open(io.BytesIO(content)) as image:
            inks = np.array(image).astype(int)
        light = (255 - inks[..., :3]) * (255 - inks[..., 3:]) / 255
        pixels = light.round().astype(np.uint8)
        yield Found(kind="JPEG, CMYK", content=content, pixels=pixels, near=1)


def turned(rgb: Bytes, random: np.random.Generator) -> Iterator[Found]:
    """Photos that are to be displayed turned: taken as they are stored, since trimaps are."""
    for orientation, upright in _UPRIGHT.items():
        exif = Image.Exif()
        exif[_ORIENTATION] = orientation
        content = saved(rgb, "JPEG", exif=exif, quality=95)
        plain = shown(saved(rgb, "JPEG", quality=95))
        yield Found(
            kind="EXIF turn", content=content, pixels=plain, displayed=np.array(upright(plain))
        )
    exif = Image.Exif()
    exif[_ORIENTATION] = 6
    content = saved(rgb, "PNG", exif=exif)
    yield Found(
        kind="EXIF turn", content=content, pixels=rgb, displayed=np.array(np.rot90(rgb, -1))
    )


def colour_pngs(rgb: Bytes, random: np.random.Generator) -> Iterator[Found]:
    """PNGs of red, green and blue."""
    text = chunk(b"tEXt", b"Title\0a pet")
    broken = text[:-1] + bytes([text[-1] ^ 1])
    contents = [
        png(rgb, RGB),
        png(rgb, RGB, interlaced=True),
        png(rgb, RGB, pieces=5),
        png(rgb, RGB, before=text + chunk(b"gAMA", struct.pack(">I", 100_000))),
        png(rgb, RGB, after=broken),  # nothing to do with pixels
        png(rgb, RGB, pieces=2) + b"bytes after the end",
    ]
    for content in contents:
        yield Found(kind="PNG", content=content, pixels=rgb)
    frames = struct.pack(">II", 1, 0)
    content = png(rgb, RGB, before=chunk(b"acTL", frames) + _frame(rgb))
    yield Found(kind="animation of one frame", content=content, pixels=rgb)


def grey_pngs(rgb: Bytes, random: np.random.Generator) -> Iterator[Found]:
    """Grey of 1 to 8 bits, each bit pattern spread over 0 to 255."""
    for depth in (1, 2, 4, 8):
        for interlaced in (False, True):
            grey = rgb[..., 1] >> (8 - depth)
            pixels = _grey(grey * (255 // (2**depth - 1)))
            content = png(grey, GREY, depth, interlaced=interlaced)
            yield Found(kind=f"PNG, grey of {depth} bit", content=content, pixels=pixels)


def palettes(rgb: Bytes, random: np.random.Generator) -> Iterator[Found]:
    """PNGs and GIFs of indices into a palette."""
    for depth in (1, 2, 4, 8):
        indices = rgb[..., 0] >> (8 - depth)
        colours = random.integers(0, 256, (2**depth, 3), np.uint8)
        part = chunk(b"PLTE", colours.tobytes())
        content = png(indices, PALETTE, depth, before=part, interlaced=depth == 4)
        yield Found(kind="PNG, palette", content=content, pixels=colours[indices])
        opacity = random.choice(np.array([0, 255], np.uint8), 2**depth)
        content = png(indices, PALETTE, depth, before=part + chunk(b"tRNS", opacity.tobytes()))
        pixels = np.where(opacity[:, None] == 255, colours, 255).astype(np.uint8)[indices]
        yield Found(kind="palette with transparency", content=content, pixels=pixels)
    image = Image.fromarray(rgb).quantize(32)
    colours = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
    indices = np.array(image)
    for options in ({"interlace": 0}, {"interlace": 1}, {"comment": b"a pet"}):
        content = saved(image, "GIF", **options)
        yield Found(kind="GIF", content=content, pixels=colours[indices])
    yield Found(
        kind="GIF without its last byte",
        content=saved(image, "GIF", comment=b"no end")[:-1],
        pixels=colours[indices],
    )
    content = saved(image, "GIF", transparency=3)
    pixels = np.where((indices == 3)[..., None], 255, colours[indices]).astype(np.uint8)
    yield Found(kind="palette with transparency", content=content, pixels=pixels)


def alphas(rgb: Bytes, random: np.random.Generator) -> Iterator[Found]:
    """Transparency over white: half a pixel's colour and half white where alpha is half."""
    alpha = random.choice(np.array([0, 51, 128, 255], np.uint8), (*rgb.shape[:2], 1))
    for interlaced in (False, True):
        content = png(np.dstack([rgb, alpha]), RGB_ALPHA, interlaced=interlaced)
        yield Found(kind="PNG, alpha", content=content, pixels=_over_white(rgb, alpha), near=1)
    grey = rgb[..., :1]
    content = png(np.dstack([grey, alpha]), GREY_ALPHA)
    pixels = _over_white(np.repeat(grey, 3, axis=2), alpha)
    yield Found(kind="PNG, grey with alpha", content=content, pixels=pixels, near=1)
    key = rgb[3, 4]
    part = chunk(b"tRNS", struct.pack(">3H", *key))
    pixels = np.where((rgb == key).all(axis=2)[..., None], 255, rgb).astype(np.uint8)
    content = png(rgb, RGB, before=part)
    yield Found(kind="PNG with a transparent colour", content=content, pixels=pixels)
    part = chunk(b"tRNS", struct.pack(">H", int(grey[3, 4, 0])))
    pixels = _grey(np.where(grey == grey[3, 4], 255, grey)[..., 0])
    content = png(grey, GREY, before=part)
    yield Found(kind="PNG with a transparent colour", content=content, pixels=pixels)


def links(rgb: Bytes, random: np.random.Generator) -> Iterator[Found]:
    """Links are followed, out of the data set too: people keep the photos elsewhere."""
    for where in ("beside the data set", "beside the photo"):
        content = saved(rgb, "PNG", compress_level=len(where) % 9)
        yield Found(kind="link to a photo", content=_linked(content, where), pixels=rgb)
    content = saved(255 - rgb, "PNG")
    yield Found(kind="link to a photo", content=_linked(content, "hard"), pixels=255 - rgb)


def _linked(content: bytes, where: str) -> Content:
    def make(path: Path) -> None:
        folder = path.parent.parent.parent if where == "beside the data set" else path.parent
        target = folder / f"{path.stem} of {where}.stored"
        target.write_bytes(content)
        if where == "hard":
            os.link(target, path)
        else:
            path.symlink_to(target)

    return make


def _frame(rgb: Bytes) -> bytes:
    """What an animated PNG says of a frame that is as large as the whole."""
    height, width = rgb.shape[:2]
    return chunk(b"fcTL", struct.pack(">5I2H2B", 0, width, height, 0, 0, 1, 10, 0, 0))


def _grey(values: np.ndarray[tuple[int, ...], np.dtype[np.integer]]) -> Bytes:
    return np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)


def _over_white(colours: Bytes, alpha: Bytes) -> Bytes:
    share = alpha / 255
    return (colours * share + 255 * (1 - share)).round().astype(np.uint8)
