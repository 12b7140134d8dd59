"""Broken and odd files, one of each kind, and the answer that docs/reference/files.md promises.

Each case is an example of a data set in the layout of Oxford-IIIT Pet, of which at most one file is
odd. The answer is: used, with these very pixels, or refused by name.
"""

import dataclasses
import io
import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

Bytes = NDArray[np.uint8]
#: The content of a file, or what makes something else in its place.
Content = bytes | Callable[[Path], None]

GRAY, RGB, PALETTE = 0, 2, 3  # of PNG

NO_PHOTO = "is not a JPEG or PNG or GIF file"
BROKEN = "cannot be decoded ("

_RANDOM = np.random.default_rng(0)


def _picture() -> tuple[Bytes, Bytes]:
    """A disc on a ground, both noisy, (32, 32, 3), and its trimap, (32, 32)."""
    rows, columns = np.mgrid[:32, :32]
    distance = np.hypot(rows - 16, columns - 16) / 32
    image = np.where((distance < 0.3)[..., None], (200, 120, 60), (60, 90, 160))
    image = image + _RANDOM.integers(-20, 20, image.shape)
    trimap = np.select([distance < 0.25, distance > 0.35], [1, 2], 3)
    return image.astype(np.uint8), trimap.astype(np.uint8)


PHOTO, TRIMAP = _picture()


@dataclasses.dataclass(frozen=True)
class Found:
    """What lies in the place of a file."""

    content: Content
    pixels: Bytes | None = None  # of a photo (H, W, 3) or a trimap (H, W) that is used
    reason: str = ""  # what a refusal says besides the file's name
    displayed: Bytes | None = None  # a photo as `predict` takes it, if not as `pixels`


@dataclasses.dataclass(frozen=True)
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


def saved(image: Image.Image | Bytes, kind: str = "PNG", **options: object) -> bytes:
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _animation(frame: Bytes, kind: str) -> bytes:
    return saved(frame, kind, save_all=True, append_images=[Image.fromarray(255 - frame)])


def chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def png(width: int, height: int, depth: int, color: int, rows: bytes) -> bytes:
    """A PNG such as no program writes."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + head + pixels + chunk(b"IEND", b"")


def _rows(samples: Bytes, bytes_each: int = 1) -> bytes:
    """The content of a PNG of these samples."""
    return b"".join(b"\0" + row.repeat(bytes_each).tobytes() for row in samples)


def _patched(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


JPEG = saved(PHOTO, "JPEG", quality=90)
GIF = saved(Image.fromarray(PHOTO).quantize(32), "GIF")


def _used_photos() -> Iterator[tuple[str, Found]]:
    photo, whole = Image.fromarray(PHOTO), saved(PHOTO)
    text = _patched(chunk(b"tEXt", b"Title\0a pet"), 9, b"t")  # with a wrong checksum
    for kind, content in {
        "JPEG, progressive": saved(PHOTO, "JPEG", progressive=True),
        "JPEG, gray": saved(photo.convert("L"), "JPEG"),
        "JPEG, CMYK": saved(photo.convert("CMYK"), "JPEG"),
        "JPEG and more bytes": JPEG + b"bytes after the end\xff\xda",
        "JPEG of two pictures": _animation(PHOTO, "MPO"),
        "GIF": GIF,
        "GIF without its last byte": GIF[:-1],
        "PNG, odd text, more bytes": whole[:-12] + text + whole[-12:] + b"bytes after the end",
        "PNG of 1 bit": saved(photo.convert("1")),
        "PNG, palette": saved(photo.quantize(16)),
    }.items():
        yield kind, Found(content, np.array(Image.open(io.BytesIO(content)).convert("RGB")))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter when displayed
    turned = np.array(np.rot90(PHOTO, -1))
    yield "EXIF turn", Found(saved(PHOTO, exif=exif), PHOTO, displayed=turned)
    yield "link to a photo", Found(_linked, 255 - PHOTO)
    # Transparency lies over white: half a color and half white where alpha is half.
    alpha = _RANDOM.choice(np.array([0, 51, 128, 255], np.uint8), (32, 32, 1))
    pixels = (PHOTO * (alpha / 255) + 255 - alpha).round().astype(np.uint8)
    yield "PNG, alpha", Found(saved(np.dstack([PHOTO, alpha])), pixels)
    key = PHOTO[3, 4]
    pixels = np.where((key == PHOTO).all(axis=2)[..., None], 255, PHOTO).astype(np.uint8)
    yield "PNG, transparent color", Found(saved(PHOTO, transparency=tuple(key.tolist())), pixels)


def _linked(path: Path) -> None:
    """A link that leads out of the data set: people keep the photos elsewhere."""
    target = path.parent.parent.parent / f"{path.stem}.stored"
    target.write_bytes(saved(255 - PHOTO))
    path.symlink_to(target)


def _refused_photos() -> Iterator[tuple[str, Found]]:
    rows, frame, text = _rows(PHOTO[1:]), JPEG.index(b"\xff\xc0"), PngInfo()
    text.add_text("a", "0" * 3_000_000, zip=True)
    webp = saved(PHOTO, "WEBP", lossless=True)
    yield "WebP", Found(webp, reason=NO_PHOTO, displayed=PHOTO)
    for kind, content, reason in (
        ("PNG, too few rows", png(32, 32, 8, RGB, rows), BROKEN),
        ("PNG, no palette", png(32, 32, 8, PALETTE, rows), BROKEN),
        ("JPEG of a rare process", _patched(JPEG, frame + 1, b"\xc5"), BROKEN),
        ("JPEG of 12 bits", _patched(JPEG, frame + 4, b"\x0c"), NO_PHOTO),
        ("GIF without a picture", GIF[:10] + b"\0\0\0;", NO_PHOTO),
        ("animation, GIF", _animation(PHOTO, "GIF"), "is an animation of 2 frames"),
        ("animation, PNG", _animation(PHOTO, "PNG"), "is an animation of 2 frames"),
        ("16 bits", png(32, 32, 16, RGB, _rows(PHOTO, 2)), "has 16 bits a sample"),
        ("too large", png(9_000, 8_000, 8, RGB, rows), "9000 x 8000 pixels"),
        ("decompression bomb", _patched(JPEG, frame + 5, b"\xff" * 4), "exceeds limit"),
        ("text bomb", saved(PHOTO, pnginfo=text), "too large"),
        ("web page", b"<!DOCTYPE html><html><title>404 Not Found</title></html>", NO_PHOTO),
    ):
        yield kind, Found(content, reason=reason)


def _no_files() -> Iterator[tuple[str, Found]]:
    """What is there, if anything, is no file that could be read to its end."""
    plain = "is not a plain file"
    places: list[tuple[str, Content, str]] = [
        ("empty", b"", "the file is empty"),
        ("missing", lambda path: None, "No such file"),
        ("link in a circle", lambda path: path.symlink_to(path.name), "symbolic links"),
        ("folder", Path.mkdir, plain),
        ("pipe", os.mkfifo, plain),
        ("socket", lambda path: os.mknod(path, stat.S_IFSOCK), plain),
        ("device", lambda path: path.symlink_to("/dev/zero"), plain),
    ]
    if os.geteuid():  # whom nothing is forbidden reads it
        places.append(("unreadable", lambda path: path.touch(0), "Permission denied"))
    for kind, content, reason in places:
        yield kind, Found(content, reason=reason)


def _trimaps() -> Iterator[tuple[str, Found]]:
    palette, whole = Image.fromarray(TRIMAP, "P"), np.ones_like(TRIMAP)
    palette.putpalette(bytes(range(12)))
    yield "palette", Found(saved(palette, transparency=b"\0\0\xff"), TRIMAP)
    yield "all pet", Found(saved(whole), whole)
    values, mode = "expected trimap values 1, 2 and 3, found ", "has samples of Pillow mode"
    mask = (TRIMAP == 1).astype(np.uint8)
    for kind, content, reason in (
        ("0 to 2", saved(TRIMAP - 1), values + "0"),
        ("0 and 255", saved(mask * 255), values + "0, 255"),
        ("another size", saved(TRIMAP[:, 1:]), "is 31 x 32 pixels, but its image is"),
        ("no pet", saved(TRIMAP * 0 + 2), "the trimap has no pet"),
        ("color", saved(np.dstack([TRIMAP] * 3)), mode),
        ("alpha", saved(np.dstack([TRIMAP, TRIMAP])), mode),
        ("1 bit", saved(Image.fromarray(mask > 0)), mode),
        ("16 bits", png(32, 32, 16, GRAY, _rows(TRIMAP, 2)), "has 16 bits a sample"),
        ("JPEG", saved(TRIMAP, "JPEG"), "is not a PNG file"),
        ("animation", _animation(TRIMAP, "PNG"), "is an animation of 2 frames"),
    ):
        yield kind, Found(content, reason=reason)


#: Strange names of files that are used all the same.
NAMES = (
    *("two  spaces_1", "قطة_1", "e\u0301clair_1", "🐈_1", "猫" * 83 + "_1", "it's_1", "a%2Fb_1"),
    *("$HOME_1", "-rf_1", "a;b&c_1", "*_1", "[x]_1", "~_1", "con", "a:b_1", "a.jpg_1", "{0}_1"),
)


def cases() -> list[Case]:
    trimap, odd_trimaps = Found(saved(TRIMAP), TRIMAP), [*_trimaps(), *_no_files()]
    odd_photos = [*_used_photos(), *_refused_photos(), *_no_files()]
    made = [Case(f"{kind}_1", found, trimap) for kind, found in odd_photos]
    made.append(Case("both_1", odd_photos[-1][1], odd_trimaps[-1][1]))
    rest = [(f"trimap {kind}_1", found) for kind, found in odd_trimaps]
    for number, (name, found) in enumerate([*rest, *((name, trimap) for name in NAMES)]):
        pixels = PHOTO.copy()
        pixels[0, 0] = number  # the same picture may not be in two splits
        made.append(Case(name, Found(saved(pixels), pixels), found))
    return made


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
