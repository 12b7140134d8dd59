"""The built-in sample: drawn pets in the layout of Oxford-IIIT Pet, so that all runs offline.

Pet, background and clutter take their colors and textures from the same distributions, so color
tells nothing: what makes a pet is its shape (body, head, ears, legs, tail) and its face. Blobs of
fur without those are clutter, things in front hide parts of the pet, and light falls unevenly.
"""

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from segmentation.utils.files import create_once
from segmentation.utils.paths import cache_folder

#: Raised when the drawing changes, so that an older sample is not taken for this one.
_VERSION = 1
TRAINVAL, TEST = 240, 60

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
#: An ellipse: center and radii, in units of the body's half height, and angle in radians.
_Part = tuple[float, float, float, float, float]

_EDGE = 7  # pixels, the width of the trimap's border
_EARS = {"pointed": (0.68, -0.85, 0.26, 0.55, 0.45), "hanging": (1.02, 0.15, 0.27, 0.75, -0.2)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Breed:
    """What the pets of one breed have in common."""

    name: str  # begins with a capital for cats, as in the real lists
    ears: str
    long: float  # the body's length over its height
    head: float  # the head's radius over the body's height
    tail: float  # the tail's length over the body's
    coat: str  # see `_texture`

    @property
    def species(self) -> str:
        return "cat" if self.name[0].isupper() else "dog"


BREEDS = (
    Breed(name="Calico", ears="pointed", long=1.5, head=0.62, tail=0.8, coat="patches"),
    Breed(name="Ginger", ears="pointed", long=1.6, head=0.6, tail=0.9, coat="stripes"),
    Breed(name="Leopard", ears="pointed", long=1.8, head=0.55, tail=1.0, coat="spots"),
    Breed(name="Smoke", ears="pointed", long=1.4, head=0.7, tail=0.7, coat="plain"),
    Breed(name="Tabby", ears="pointed", long=1.6, head=0.62, tail=0.9, coat="stripes"),
    Breed(name="basset", ears="hanging", long=2.2, head=0.6, tail=0.5, coat="patches"),
    Breed(name="dalmatian", ears="hanging", long=1.6, head=0.5, tail=0.6, coat="spots"),
    Breed(name="mastiff", ears="hanging", long=1.4, head=0.65, tail=0.5, coat="plain"),
    Breed(name="shepherd", ears="pointed", long=1.7, head=0.52, tail=0.7, coat="patches"),
    Breed(name="terrier", ears="pointed", long=1.3, head=0.58, tail=0.4, coat="plain"),
)


def synthetic_folder() -> Path:
    """Return where the sample is, drawing it there the first time (some seconds)."""
    folder = cache_folder() / f"synthetic-{_VERSION}"
    return create_once(folder, lambda stage: write_dataset(stage, TRAINVAL, TEST, seed=0))


def write_dataset(folder: Path, trainval: int, test: int, seed: int) -> None:
    """Draw so many pets for each list, the breeds in turn; the same seed draws the same files."""
    images, annotations = folder / "images", folder / "annotations"
    images.mkdir(parents=True)
    (annotations / "trimaps").mkdir(parents=True)
    lists: dict[str, list[str]] = {"trainval": [], "test": []}
    for number in range(trainval + test):
        breed = BREEDS[number % len(BREEDS)]
        name = f"{breed.name}_{number // len(BREEDS) + 1}"
        # Each picture has a generator of its own: it is the same in a smaller and a larger set.
        image, trimap = draw(breed, np.random.default_rng([seed, number]))
        Image.fromarray(image).save(images / f"{name}.jpg", quality=92)
        Image.fromarray(trimap).save(annotations / "trimaps" / f"{name}.png")
        row = f"{name} {number % len(BREEDS) + 1} {1 if breed.species == 'cat' else 2} 1"
        lists["trainval" if number < trainval else "test"].append(row)
    for name, lines in lists.items():
        text = "\n".join(sorted(lines)) + "\n"
        (annotations / f"{name}.txt").write_text(text, encoding="utf-8")


def draw(
    breed: Breed, generator: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw a pet: uint8 (H, W, 3) RGB, and its trimap, uint8 (H, W) in {1, 2, 3}.

    H and W lie between 160 and 280.
    """
    while True:
        scene = _Scene(generator)
        for _ in range(generator.integers(2, 6)):
            scene.add_clutter()
        pet = scene.add_pet(breed)
        for _ in range(generator.choice([0, 1, 2], p=[0.5, 0.35, 0.15])):
            pet &= ~scene.add_clutter(thin=True)
        trimap = _trimap(pet)
        # A pet that was pushed out of the picture or hidden is drawn anew: the lists promise one.
        if (trimap == 1).mean() > 0.03:
            return scene.photo(), trimap


class _Scene:
    """A picture that things are painted on, the last one in front."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._random = generator
        self._height, self._width = generator.integers(160, 281, 2)
        self._unit = float(min(self._height, self._width))
        rows, columns = np.mgrid[: self._height, : self._width]
        self._x, self._y = columns.astype(float), rows.astype(float)
        self._pixels = _texture(self._random, self._x, self._y, self._pick_coat())
        if generator.random() < 0.7:  # a floor, or a wall
            line = self._height * generator.uniform(0.3, 0.8)
            slope = generator.normal(0, 0.15)
            self._paint(self._y > line + slope * self._x)

    def add_clutter(self, *, thin: bool = False) -> Mask:
        """Paint a blob or a box of fur; return where."""
        random = self._random
        size = self._unit * (random.uniform(0.04, 0.1) if thin else random.uniform(0.1, 0.3))
        u, v = self._local(
            random.uniform(0, self._width), random.uniform(0, self._height), random.uniform(0, 6.3)
        )
        long = random.uniform(4, 12) if thin else random.uniform(1, 2.5)
        power = float(random.choice([2.0, 6.0]))  # an ellipse, or a box with round corners
        distance: Floats = np.abs(u / (size * long)) ** power + np.abs(v / size) ** power
        where: Mask = distance < self._wobble(0.1)
        self._paint(where)
        return where

    def add_pet(self, breed: Breed) -> Mask:
        """Paint a pet; return where."""
        random = self._random
        size = self._unit * random.uniform(0.16, 0.3)
        x = self._width * random.uniform(0.3, 0.7)
        y = self._height * random.uniform(0.35, 0.65)
        u, v = self._local(x, y, random.normal(0, 0.15))
        u, v = (u if random.random() < 0.5 else -u) / size, v / size
        parts, head = _pose(breed, random)
        edge = self._wobble(0.12)
        shape: Mask = np.any([_ellipse(part, u, v, edge) for part in parts], axis=0)
        colors = _palette(random)
        self._paint(shape, breed.coat, colors)
        # Hanging ears and the head stand out a little from the body.
        face = _ellipse((*head, breed.head, breed.head * 0.95, 0), u, v, edge)
        self._paint(face & shape, breed.coat, np.clip(colors * 0.75 + 0.12, 0, 1))
        for du, dv, radius in ((-0.38, -0.15, 0.12), (0.38, -0.15, 0.12), (0.0, 0.3, 0.16)):
            center = head[0] + du * breed.head, head[1] + dv * breed.head
            dot = (*center, radius * breed.head, radius * breed.head, 0)
            self._pixels[_ellipse(dot, u, v, 1) & shape] = 0.08
        return shape

    def photo(self) -> NDArray[np.uint8]:
        """Return the picture as a camera gives it: uneven light, blur, noise."""
        random = self._random
        u, _v = self._local(self._width / 2, self._height / 2, random.uniform(0, 6.3))
        light = random.uniform(0.75, 1.15) + random.uniform(0, 0.35) * u / self._unit
        pixels = np.clip(self._pixels * light[..., None], 0, 1)
        picture = Image.fromarray((pixels * 255).astype(np.uint8))
        picture = picture.filter(ImageFilter.GaussianBlur(random.uniform(0.4, 1.1)))
        noise = random.normal(0, random.uniform(2, 8), (*pixels.shape[:2], 3))
        return np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8)

    def _local(self, x: float, y: float, angle: float) -> tuple[Floats, Floats]:
        """Return pixel coordinates around (x, y), turned by `angle` radians."""
        dx, dy, c, s = self._x - x, self._y - y, np.cos(angle), np.sin(angle)
        return c * dx + s * dy, c * dy - s * dx

    def _wobble(self, depth: float) -> Floats:
        """Return noise around 1, which makes an outline uneven, as fur is."""
        return 1 + depth * _noise(self._random, self._x, self._y, self._unit / 12)

    def _pick_coat(self) -> str:
        return str(self._random.choice(["plain", "stripes", "spots", "patches"]))

    def _paint(self, where: Mask, coat: str = "", colors: Floats | None = None) -> None:
        texture = _texture(self._random, self._x, self._y, coat or self._pick_coat(), colors)
        self._pixels[where] = texture[where]


def _ellipse(part: _Part, u: Floats, v: Floats, edge: Floats | float) -> Mask:
    """Return where a part of a body is."""
    x, y, across, down, angle = part
    du, dv, c, s = u - x, v - y, np.cos(angle), np.sin(angle)
    return np.asarray(((c * du + s * dv) / across) ** 2 + ((c * dv - s * du) / down) ** 2 < edge)


def _pose(breed: Breed, random: np.random.Generator) -> tuple[list[_Part], tuple[float, float]]:
    """Return the parts of a pet that stands, sits or looks at you, and the center of its head."""
    long, head = breed.long, breed.head
    kind = random.choice(["stands", "sits", "looks"], p=[0.45, 0.3, 0.25])
    if kind == "stands":
        at = (long * random.uniform(0.9, 1.1), -random.uniform(0.6, 1.0))
        parts = [(0.0, 0.0, long, random.uniform(0.75, 1), random.normal(0, 0.06))]
        parts += [((at[0] + long) / 2 - 0.3, at[1] / 2, 0.5, 0.75, 0.6)]  # the neck
        for place in (-0.75, -0.45, 0.4, 0.7):
            lean = random.normal(0, 0.15)
            parts.append((place * long - lean, 1.0, 0.2, random.uniform(0.7, 1.0), lean))
        parts += _tail(-long * 0.95, -0.2, breed.tail * long, random)
    elif kind == "sits":
        at = (random.normal(0, 0.15), -1.5)
        parts = [(0.0, 0.3, 0.95, 1.45, random.normal(0, 0.1))]
        parts += [(side * 0.75, 1.25, 0.5, 0.4, 0.0) for side in (-1, 1)]
        parts += _tail(-0.8, 1.3, breed.tail * 1.4, random)
    else:
        at = (random.normal(0, 0.2), 0.0)
        head *= 2.0
        parts = [(0.0, head * 1.4, head * 1.25, head * 0.9, 0.0)]
    parts.append((*at, head, head * 0.95, 0.0))
    # Place, size and lean of an ear, in radii of the head.
    x, y, across, down, lean = _EARS[breed.ears]
    for side in (-1, 1):
        ear = (at[0] + side * head * x, at[1] + head * y, head * across, head * down, side * lean)
        parts.append(ear)
    return parts, at


def _tail(x: float, y: float, length: float, random: np.random.Generator) -> list[_Part]:
    angle, bend = np.pi + random.uniform(-0.3, 1.0), random.normal(0, 0.12)
    parts = []
    for _ in range(max(1, round(length / 0.16))):
        x, y, angle = x + 0.16 * np.cos(angle), y + 0.16 * np.sin(angle), angle + bend
        parts.append((x, y, 0.17, 0.17, 0.0))
    return parts


def _trimap(pet: Mask) -> NDArray[np.uint8]:
    """Return 1 inside, 2 outside and 3 along the outline, as annotators drew the real ones."""
    mask = Image.fromarray(pet.astype(np.uint8) * 255)
    grown = np.asarray(mask.filter(ImageFilter.MaxFilter(_EDGE))) > 0
    shrunk = np.asarray(mask.filter(ImageFilter.MinFilter(_EDGE))) > 0
    return np.where(shrunk, 1, np.where(grown, 3, 2)).astype(np.uint8)


def _palette(random: np.random.Generator) -> Floats:
    """Return two colors, float (2, 3) in [0, 1], muted as fur, walls and grass are."""
    gray = random.uniform(0.1, 0.95, (2, 1))
    return np.clip(gray + random.normal(0, 0.12, (2, 3)), 0, 1)


def _texture(
    random: np.random.Generator, x: Floats, y: Floats, kind: str, colors: Floats | None = None
) -> Floats:
    """Return a field of colors, float (H, W, 3) in [0, 1]."""
    colors = _palette(random) if colors is None else colors
    scale = random.uniform(6, 24)
    if kind == "stripes":
        angle = random.uniform(0, 6.3)
        wave = (x * np.cos(angle) + y * np.sin(angle)) / scale * 3
        mix = np.sin(wave + 2 * _noise(random, x, y, 30)) > 0.2
    elif kind == "spots":
        mix = _noise(random, x, y, scale / 2) > 0.7
    elif kind == "patches":
        mix = _noise(random, x, y, scale * 2) > 0.3
    else:
        mix = np.zeros(x.shape, dtype=bool)
    shade = 0.05 * _noise(random, x, y, 3) + 0.06 * _noise(random, x, y, 40)
    field: Floats = np.where(mix[..., None], colors[0], colors[1]) + shade[..., None]
    return np.clip(field, 0, 1)


def _noise(random: np.random.Generator, x: Floats, y: Floats, scale: float) -> Floats:
    """Return smooth noise of about zero mean and unit variance, with features of `scale` pixels."""
    height, width = x.shape
    grid = random.normal(0, 1, (int(height / scale) + 3, int(width / scale) + 3)).astype(np.float32)
    smooth = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(smooth, dtype=np.float64)
