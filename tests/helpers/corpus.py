"""Broken and odd files, one of each kind: what lies there, and the answer that README.md promises.

Each case is an example of a data set in the layout of Oxford-IIIT Pet, of which at most one file is
odd. The answer is: used, with these very pixels, or refused by name.
"""

import dataclasses
import io
import os
import socket
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.helpers.png import (
    GRAY,
    GRAY_ALPHA,
    MAGIC,
    PALETTE,
    RGB,
    RGB_ALPHA,
    chunk,
    header,
    png,
)

Bytes = NDArray[np.uint8]
#: The content of a file, or what makes something else in its place.
Content = bytes | Callable[[Path], None]

NO_PHOTO = "is not a JPEG or PNG or GIF file"
BROKEN = "cannot be decoded ("

_RANDOM = np.random.default_rng(0)


def _picture(height: int, width: int) -> tuple[Bytes, Bytes]:
    """A disc on a ground, both noisy, (H, W, 3), and its trimap, (H, W)."""
    rows, columns = np.mgrid[:height, :width]
    distance = np.hypot(rows - height / 2, columns - width / 2) / min(height, width)
    image = np.where((distance < 0.3)[..., None], (200, 120, 60), (60, 90, 160))
    image = image + _RANDOM.integers(-20, 20, image.shape)
    trimap = np.select([distance < 0.25, distance > 0.35], [1, 2], 3)
    return image.astype(np.uint8), trimap.astype(np.uint8)


PHOTO, TRIMAP = _picture(32, 32)
_WIDE = _picture(24, 40)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """What lies in the place of a file.

    Attributes:
        content: of the file.
        pixels: what it is used as, photo (H, W, 3) or trimap (H, W); None if it is refused.
        reason: what the refusal says besides the file's name; empty if it is used.
        near: how far a pixel may be from `pixels`, where rounding is the decoder's affair.
        displayed: a photo as `predict` takes it, if not as `pixels`.
        maybe_taken: whether `predict`, which reads with Pillow alone, may take what is refused.
    """

    content: Content
    pixels: Bytes | None = None
    reason: str = ""
    near: int = 0
    displayed: Bytes | None = None
    maybe_taken: bool = False

    def wrong(self, pixels: Bytes) -> bool:
        """Whether these are not the pixels as which it is to be used."""
        assert self.pixels is not None
        if pixels.shape != self.pixels.shape or pixels.dtype != np.uint8:
            return True
        return bool(np.abs(pixels.astype(int) - self.pixels).max() > self.near)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """An example of the data set: its name in the list, and its files."""

    id: str
    image: Found
    trimap: Found

    @property
    def refusals(self) -> list[tuple[str, str]]:
        """The end of the path and the reason of each file that is refused."""
        files = ((f"images/{self.id}.jpg", self.image), (f"trimaps/{self.id}.png", self.trimap))
        return [(path, file.reason) for path, file in files if file.reason]

    def misnamed(self, lines: Iterable[str]) -> str:
        """What is wrong with how lines tell of this example; empty if nothing is."""
        names = (f"/{self.id}.jpg: ", f"/{self.id}.png: ")
        mine = [line for line in lines if any(name in line for name in names)]
        parts = [f"{path}: " for path, _ in self.refusals] + [why for _, why in self.refusals]
        right = len(mine) == bool(parts) and all(part in line for line in mine for part in parts)
        return "" if right else f"{self.id}: expected {self.refusals}, got {mine}"


def saved(image: Image.Image | Bytes, kind: str, **options: object) -> bytes:
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _shown(content: bytes) -> Bytes:
    with Image.open(io.BytesIO(content)) as image:
        return np.array(image.convert("RGB"))


def _patched(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


JPEG = saved(PHOTO, "JPEG", quality=90)
_GIF_IMAGE = Image.fromarray(PHOTO).quantize(32)
GIF = saved(_GIF_IMAGE, "GIF")


def _used_photos() -> Iterator[tuple[str, Found]]:
    jpegs = {
        "JPEG": JPEG,
        "JPEG, progressive": saved(PHOTO, "JPEG", progressive=True),
        "JPEG, gray": saved(Image.fromarray(PHOTO).convert("L"), "JPEG"),
        "JPEG and more bytes": JPEG + b"bytes after the end\xff\xda",
        "JPEG of two pictures": saved(
            PHOTO, "MPO", save_all=True, append_images=[Image.fromarray(255 - PHOTO)]
        ),
    }
    for kind, content in jpegs.items():
        yield kind, Found(content=content, pixels=_shown(content))
    content = saved(Image.fromarray(PHOTO).convert("CMYK"), "JPEG", quality=95)
    with Image.open(io.BytesIO(content)) as image:
        inks = np.array(image).astype(int)  # each color takes away light, and black takes all
    light = (255 - inks[..., :3]) * (255 - inks[..., 3:]) / 255
    yield "JPEG, CMYK", Found(content=content, pixels=light.round().astype(np.uint8), near=1)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter when displayed
    content = saved(_WIDE[0], "PNG", exif=exif)
    turned = np.array(np.rot90(_WIDE[0], -1))
    yield "EXIF turn", Found(content=content, pixels=_WIDE[0], displayed=turned)
    text = chunk(b"tEXt", b"Title\0a pet")
    frame = struct.pack(">5I2H2B", 0, 32, 32, 0, 0, 1, 10, 0, 0)
    one_frame = chunk(b"acTL", struct.pack(">II", 1, 0)) + chunk(b"fcTL", frame)
    pngs = {
        "PNG": png(PHOTO, RGB),
        "PNG, interlaced": png(PHOTO, RGB, interlaced=True),
        "PNG, odd text": png(PHOTO, RGB, before=text, after=_patched(text, 9, b"t")),
        "PNG and more bytes": png(PHOTO, RGB) + b"bytes after the end",
        "PNG, animation of one frame": png(PHOTO, RGB, before=one_frame),
    }
    for kind, content in pngs.items():
        yield kind, Found(content=content, pixels=PHOTO)
    for depth in (1, 2, 4, 8):
        gray = PHOTO[..., 1] >> (8 - depth)
        pixels = np.repeat((gray * (255 // (2**depth - 1)))[..., None], 3, axis=2)
        content = png(gray, GRAY, depth, interlaced=depth == 2)
        yield f"PNG, gray of {depth} bit", Found(content=content, pixels=pixels.astype(np.uint8))
    yield from _palettes()
    yield from _transparent()
    yield "link to a photo", Found(content=_linked, pixels=255 - PHOTO)


def _palettes() -> Iterator[tuple[str, Found]]:
    indices = PHOTO[..., 0] >> 4
    colors = _RANDOM.integers(0, 256, (16, 3), np.uint8)
    palette = chunk(b"PLTE", colors.tobytes())
    content = png(indices, PALETTE, 4, before=palette, interlaced=True)
    yield "PNG, palette", Found(content=content, pixels=colors[indices])
    opaque = np.arange(16) % 2 == 0
    alpha = chunk(b"tRNS", (255 * opaque).astype(np.uint8).tobytes())
    pixels = np.where(opaque[:, None], colors, 255).astype(np.uint8)[indices]
    content = png(indices, PALETTE, 4, before=palette + alpha)
    yield "PNG, palette with alpha", Found(content=content, pixels=pixels)
    yield "GIF", Found(content=GIF, pixels=_shown(GIF))
    yield "GIF without its last byte", Found(content=GIF[:-1], pixels=_shown(GIF))
    pixels = np.where((np.array(_GIF_IMAGE) == 3)[..., None], 255, _shown(GIF)).astype(np.uint8)
    content = saved(_GIF_IMAGE, "GIF", transparency=3)
    yield "GIF, transparent", Found(content=content, pixels=pixels)


def _transparent() -> Iterator[tuple[str, Found]]:
    """Transparency lies over white: half a color and half white where alpha is half."""
    alpha = _RANDOM.choice(np.array([0, 51, 128, 255], np.uint8), (32, 32, 1))
    for kind, colors, color_type in (
        ("PNG, alpha", PHOTO, RGB_ALPHA),
        ("PNG, gray with alpha", PHOTO[..., :1], GRAY_ALPHA),
    ):
        pixels = (colors * (alpha / 255) + 255 - alpha).round().astype(np.uint8)
        pixels = np.broadcast_to(pixels, PHOTO.shape)
        content = png(np.dstack([colors, alpha]), color_type)
        yield kind, Found(content=content, pixels=pixels, near=1)
    key = PHOTO[3, 4]
    pixels = np.where((key == PHOTO).all(axis=2)[..., None], 255, PHOTO).astype(np.uint8)
    content = png(PHOTO, RGB, before=chunk(b"tRNS", struct.pack(">3H", *key)))
    yield "PNG with a transparent color", Found(content=content, pixels=pixels)


def _linked(path: Path) -> None:
    """A link that leads out of the data set: people keep the photos elsewhere."""
    target = path.parent.parent.parent / f"{path.stem}.stored"
    target.write_bytes(png(255 - PHOTO, RGB))
    path.symlink_to(target)


def _refused_photos() -> Iterator[tuple[str, Found]]:
    rows = b"".join(b"\0" + row.tobytes() for row in PHOTO)
    start, end = MAGIC + header(32, 32, 8, RGB), chunk(b"IEND", b"")
    pixels = chunk(b"IDAT", zlib.compress(rows))
    pngs = {
        "too few rows": start + chunk(b"IDAT", zlib.compress(rows[:500])) + end,
        "no pixels": start + end,
        "no zlib": start + chunk(b"IDAT", _RANDOM.bytes(200)) + end,
        "unknown filter": start + chunk(b"IDAT", zlib.compress(b"\x09" + rows[1:])) + end,
        "no width": MAGIC + header(0, 32, 8, RGB) + pixels + end,
        "no such depth": MAGIC + header(32, 32, 3, RGB) + pixels + end,
        "no palette": png(PHOTO[..., 0], PALETTE),
        "short head": MAGIC + chunk(b"IHDR", b"\0\0\0\1") + pixels + end,
    }
    for kind, content in pngs.items():
        yield f"PNG, {kind}", Found(content=content, reason=BROKEN, maybe_taken=True)
    frame = JPEG.index(b"\xff\xc0")
    yield "JPEG of 12 bits", Found(content=_patched(JPEG, frame + 4, b"\x0c"), reason=BROKEN)
    content = _patched(JPEG, frame + 1, b"\xc5")
    yield "JPEG of a rare process", Found(content=content, reason=BROKEN, maybe_taken=True)
    empty = b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0, 0, 0) + b";"
    yield "GIF without a picture", Found(content=empty, reason=BROKEN)
    for kind in ("GIF", "PNG"):
        content = saved(PHOTO, kind, save_all=True, append_images=[Image.fromarray(255 - PHOTO)])
        yield f"animation, {kind}", Found(content=content, reason="is an animation of 2 frames")
    for kind, samples, color in (("gray", PHOTO[..., 0], GRAY), ("color", PHOTO, RGB)):
        content = png(samples.astype(np.uint16) * 257, color, 16)
        yield f"16 bits, {kind}", Found(content=content, reason="has 16 bits a sample")
    large = MAGIC + header(9_000, 8_000, 8, RGB) + pixels + end
    yield "too large", Found(content=large, reason="has 9000 x 8000 pixels; at most 64,000,000")
    content = _patched(JPEG, frame + 5, b"\xff\xff\xff\xff")
    yield "decompression bomb", Found(content=content, reason="exceeds limit")
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(3_000_000), 9))
    yield "text bomb", Found(content=png(PHOTO, RGB, before=text), reason="too large")
    webp = saved(PHOTO, "WEBP", lossless=True)
    yield "WebP", Found(content=webp, reason=NO_PHOTO, displayed=PHOTO)
    others = {
        "BMP": saved(PHOTO, "BMP"),
        "web page": b"<!DOCTYPE html><html><title>404 Not Found</title></html>",
        "byte order mark": b"\xef\xbb\xbf" + JPEG,
        "zeros": bytes(100),
        "wrong magic": b"\xff\xd9\xff" + JPEG[3:],
    }
    for kind, content in others.items():
        yield kind, Found(content=content, reason=NO_PHOTO)


def _no_files() -> Iterator[tuple[str, Found]]:
    """What is there, if anything, is no file that could be read to its end."""
    plain = "is not a plain file"
    places: list[tuple[str, Content, str]] = [
        ("empty", b"", "the file is empty"),
        ("missing", lambda path: None, "No such file"),
        ("link in a circle", lambda path: path.symlink_to(path.name), "symbolic links"),
        ("folder", Path.mkdir, plain),
        ("pipe", os.mkfifo, plain),
        ("socket", _socket, plain),
        ("device", lambda path: path.symlink_to("/dev/zero"), plain),
    ]
    if os.geteuid():  # whom nothing is forbidden reads it
        places.append(("unreadable", lambda path: path.touch(0), "Permission denied"))
    for kind, content, reason in places:
        yield kind, Found(content=content, reason=reason)


def _socket(path: Path) -> None:
    """Leave a socket's file; its name may have a hundred bytes, so it is made from nearby."""
    here = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


def _trimaps() -> Iterator[tuple[str, Found]]:
    colors = chunk(b"PLTE", bytes(range(12)))
    used = {
        "gray": png(TRIMAP, GRAY),
        "interlaced": png(TRIMAP, GRAY, interlaced=True),
        "palette": png(TRIMAP, PALETTE, 2, before=colors),
        "palette with alpha": png(TRIMAP, PALETTE, before=colors + chunk(b"tRNS", b"\0\0\xff")),
    }
    for kind, content in used.items():
        yield kind, Found(content=content, pixels=TRIMAP)
    whole = np.ones_like(TRIMAP)
    yield "all pet", Found(content=png(whole, GRAY), pixels=whole)
    values, mode = "expected trimap values 1, 2 and 3, found ", "has samples of Pillow mode"
    other = _patched(TRIMAP.tobytes(), 0, b"\x04")
    mask = (TRIMAP == 1).astype(np.uint8)
    refused = {
        "0 to 2": (png(TRIMAP - 1, GRAY), values + "0"),
        "0 and 255": (png(mask * 255, GRAY), values + "0, 255"),
        "one 4": (png(np.frombuffer(other, np.uint8).reshape(32, 32), GRAY), values + "4"),
        "shares of white": (png(TRIMAP, GRAY, 2), values),
        "no pet": (png(TRIMAP * 0 + 2, GRAY), "the trimap has no pet"),
        "color": (png(np.dstack([TRIMAP] * 3), RGB), mode),
        "alpha": (png(np.dstack([TRIMAP, TRIMAP]), GRAY_ALPHA), mode),
        "1 bit": (png(mask, GRAY, 1), mode),
        "16 bits": (png(TRIMAP.astype(np.uint16), GRAY, 16), "has 16 bits a sample"),
        "JPEG": (saved(TRIMAP, "JPEG"), "is not a PNG file"),
        "animation": (
            saved(TRIMAP, "PNG", save_all=True, append_images=[Image.fromarray(4 - TRIMAP)]),
            "is an animation of 2 frames",
        ),
        "another size": (png(TRIMAP[:, 1:], GRAY), "is 31 x 32 pixels, but its image is"),
        "cut": (png(TRIMAP, GRAY)[:-20], BROKEN),
    }
    for kind, (content, reason) in refused.items():
        yield kind, Found(content=content, reason=reason)


#: Strange names of files that are used all the same.
NAMES = (
    *(
        "two  spaces_1",
        "猫_1",
        "قطة_1",
        "e\u0301clair_1",
        "🐈_1",
        "猫" * 83 + "_1",
        "x" * 249 + "_1",
    ),
    *("it's_1", '"quoted"_1', "100%_1", "a%2Fb_1", "$HOME_1", "`x`_1", "-rf_1", "a;b&c_1", "*_1"),
    *("[x]_1", "~_1", "con", "a:b_1", "a.jpg_1", "dot.", "7", "<b>_1", "{0}_1", "a#b_1", "a|b_1"),
)


def cases() -> list[Case]:
    trimap, wide = next(_trimaps())[1], Found(content=png(_WIDE[1], GRAY), pixels=_WIDE[1])
    photos = iter(map(_good_photo, range(200)))
    made = [
        Case(id=f"{kind}_1", image=found, trimap=wide if found.pixels is _WIDE[0] else trimap)
        for kind, found in (*_used_photos(), *_refused_photos(), *_no_files())
    ]
    made += [
        Case(id=f"trimap {kind}_1", image=next(photos), trimap=found)
        for kind, found in (*_trimaps(), *_no_files())
    ]
    bad_photo, bad_trimap = (list(files)[-1][1] for files in (_refused_photos(), _trimaps()))
    made.append(Case(id="both_1", image=bad_photo, trimap=bad_trimap))
    return made + [Case(id=name, image=next(photos), trimap=trimap) for name in NAMES]


def _good_photo(number: int) -> Found:
    """No two are alike: the same picture may not be in two splits."""
    pixels = PHOTO.copy()
    pixels[0, 0] = number
    return Found(content=png(pixels, RGB), pixels=pixels)


def write(folder: Path, made: Iterable[Case]) -> None:
    """Write a data set; every fifth example is in the list of the test images."""
    trimaps = folder / "annotations" / "trimaps"
    (folder / "images").mkdir(parents=True)
    trimaps.mkdir(parents=True)
    lists: dict[str, list[str]] = {"trainval": [], "test": []}
    for number, case in enumerate(made):
        put(folder / "images" / f"{case.id}.jpg", case.image.content)
        put(trimaps / f"{case.id}.png", case.trimap.content)
        lists["test" if number % 5 == 4 else "trainval"].append(f"{case.id} 1 1 1\n")
    for name, lines in lists.items():
        (folder / "annotations" / f"{name}.txt").write_text("".join(lines), encoding="utf-8")


def put(path: Path, content: Content) -> None:
    if callable(content):
        content(path)
    else:
        path.write_bytes(content)
