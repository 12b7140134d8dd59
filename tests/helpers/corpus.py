"""Hostile, broken and merely odd data sets, from a seed: what lies there, and the answer to it.

Each case is an example of a data set in the layout of Oxford-IIIT Pet, of which at most one file is
odd. The answer is what README.md documents: used, with these very pixels, or refused by name.
"""

import dataclasses
import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Bytes = NDArray[np.uint8]
#: The content of a file, or what makes something else in its place.
Content = bytes | Callable[[Path], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """What lies in the place of a file.

    Attributes:
        kind: the row of the table to which it belongs.
        content: of the file.
        pixels: what it is used as, photo (H, W, 3) or trimap (H, W); None if it is refused.
        reason: what the refusal says besides the file's name; empty if it is used.
        near: how far a pixel may be from `pixels`, where rounding is the decoder's affair.
        displayed: a photo as `predict` takes it, if not as `pixels`.
        taken: whether `predict` takes what is refused here, or may do so.
    """

    kind: str
    content: Content
    pixels: Bytes | None = None
    reason: str = ""
    near: int = 0
    displayed: Bytes | None = None
    taken: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """An example of the data set.

    Attributes:
        kind: the row of the table.
        id: its name in the list.
        image, trimap: what lies in the place of its two files.
        species: as the list has it, 1 or 2.
    """

    kind: str
    id: str
    image: Found
    trimap: Found
    species: int

    @property
    def refusals(self) -> list[tuple[str, str]]:
        """The path within the data set and the reason of each file that is refused."""
        files = ((f"images/{self.id}.jpg", self.image), (f"trimaps/{self.id}.png", self.trimap))
        return [(path, file.reason) for path, file in files if file.reason]

    @property
    def answer(self) -> str:
        """The documented answer in a word."""
        return "refused" if self.refusals else "used"

    def wrong(self, image: Bytes, trimap: Bytes) -> str:
        """What is wrong with the pixels as which this was used; empty if they are right."""
        if self.refusals:
            return f"{self.id}: used, but is to be refused"
        for found, pixels in ((self.image, image), (self.trimap, trimap)):
            assert found.pixels is not None
            if pixels.shape != found.pixels.shape or pixels.dtype != np.uint8:
                return f"{self.id}: {pixels.dtype} {pixels.shape}, expected {found.pixels.shape}"
            if np.abs(pixels.astype(int) - found.pixels).max() > found.near:
                return f"{self.id}: other pixels than those that were written"
        return ""


def picture(random: np.random.Generator, height: int = 32, width: int = 32) -> tuple[Bytes, Bytes]:
    """A disc on a ground, both noisy, (H, W, 3), and its trimap, (H, W)."""
    rows, columns = np.mgrid[:height, :width]
    distance = np.hypot(rows - height / 2, columns - width / 2) / min(height, width)
    radius = random.uniform(0.25, 0.4)
    colours = random.integers(20, 236, (2, 3))
    image = np.where((distance < radius)[..., None], colours[0], colours[1])
    image = image + random.integers(-20, 20, image.shape)
    trimap = np.select([distance < radius - 0.05, distance > radius + 0.05], [1, 2], 3)
    return image.astype(np.uint8), trimap.astype(np.uint8)


def saved(image: Image.Image | Bytes, kind: str, **options: object) -> bytes:
    """An image as a file of Pillow's."""
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def shown(content: bytes) -> Bytes:
    """What Pillow itself makes of an undamaged file, RGB."""
    with Image.open(io.BytesIO(content)) as image:
        return np.array(image.convert("RGB"))


def cut(kind: str, content: bytes, places: Iterable[int], magic: int) -> Iterator[Found]:
    """A file that ends too early, at each of some places; `magic` bytes tell its format."""
    formats = "PNG" if kind.startswith("trimap") else "JPEG or PNG or GIF"
    for place in sorted(set(places)):
        known = place >= magic
        reason = "cannot be decoded (" if known else f"is not a {formats} file"
        yield Found(kind=kind, content=content[:place], reason=reason)


def write(folder: Path, cases: Iterable[Case]) -> None:
    """Write a data set; every fifth example is in the list of the test images."""
    trimaps = folder / "annotations" / "trimaps"
    (folder / "images").mkdir(parents=True)
    trimaps.mkdir(parents=True)
    lists: dict[str, list[str]] = {"trainval": [], "test": []}
    for number, case in enumerate(cases):
        put(folder / "images" / f"{case.id}.jpg", case.image.content)
        put(trimaps / f"{case.id}.png", case.trimap.content)
        line = f"{case.id} 1 {case.species} 1"
        lists["test" if number % 5 == 4 else "trainval"].append(line)
    for name, lines in lists.items():
        text = "\n".join(lines) + "\n"
        (folder / "annotations" / f"{name}.txt").write_text(text, encoding="utf-8")


def put(path: Path, content: Content) -> None:
    """Make what lies in a file's place."""
    if callable(content):
        content(path)
    else:
        path.write_bytes(content)
