"""The data set on disk: the layout of Oxford-IIIT Pet, its lists, and how a file becomes pixels.

    FOLDER/images/NAME.jpg                  photographs
    FOLDER/annotations/trimaps/NAME.png     1 = pet, 2 = background, 3 = border
    FOLDER/annotations/trainval.txt, test.txt      NAME CLASS SPECIES BREED a line

The lists are the truth; what else lies in the folders is not looked at. Images are read by one
rule. Used: JPEG, PNG and GIF by their content, whatever their name says; grey, palette and CMYK
converted to RGB as Pillow does; transparency laid over white; of a camera's multi-picture JPEG the
first. Refused by name: other formats, animations, 16-bit samples, and more than `MAX_PIXELS`.
Pixels are taken as they are stored: the trimaps were drawn on those, so an EXIF orientation is not
applied.
"""

import dataclasses
import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from segmentation.errors import DataError

LICENCE = "CC BY-SA 4.0"
LISTS = ("trainval", "test")
#: A larger image is refused before it is decoded; the data set's largest has 12 million pixels.
MAX_PIXELS = 64_000_000

PET, BACKGROUND, BORDER = 1, 2, 3
_SPECIES = {"1": "cat", "2": "dog"}
_IMAGE_FORMATS = ("JPEG", "PNG", "GIF")
_IMAGE_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK")
_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)

# Our own limit is lower and an error; a half-broken EXIF block does not matter to pixels.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", message=".*EXIF.*", module=r"PIL\..*")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """One listed pet.

    Attributes:
        id: its name in the lists, unique in the data set.
        breed: the name without its number.
        species: `cat` or `dog`.
        image, trimap: the files.
    """

    id: str
    breed: str
    species: str
    image: Path
    trimap: Path


class ExampleError(Exception):
    """One file cannot be used; the message names it and says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pixels:
    """A decoded example.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        trimap: uint8 (H, W), values in {1, 2, 3}, with at least one 1.
    """

    image: NDArray[np.uint8]
    trimap: NDArray[np.uint8]


def find_root(folder: Path) -> Path:
    """Return the folder that holds `images` and `annotations`: `folder` or its `oxford-iiit-pet`.

    Raises:
        DataError: it is missing or has not that layout; the message lists what is not there.
    """
    needed = ("images", "annotations", "annotations/trimaps", "annotations/trainval.txt")
    for root in (folder, folder / "oxford-iiit-pet"):
        if (root / "annotations").is_dir():
            break
    else:
        root = folder
    missing = [name for name in needed if not (root / name).exists()]
    if missing:
        raise DataError(
            f"data={folder}: expected a folder in the layout of Oxford-IIIT Pet, but it has no "
            f"{', '.join(missing)}; give the folder that holds images/ and annotations/, or let "
            "`mlflow run . -e prepare` download the data set"
        )
    return root


def read_list(root: Path, name: str) -> list[Example]:
    """Read `annotations/NAME.txt`; blank lines and lines that begin with # do not count.

    Raises:
        DataError: the list is missing or empty, or lines are malformed: all of them are named.
    """
    path = root / "annotations" / f"{name}.txt"
    try:
        lines = path.read_bytes().decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a readable UTF-8 list of examples ({error})") from error
    examples: dict[str, Example] = {}
    problems = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parsed = _parse(root, line)
        if isinstance(parsed, str):
            problems.append(f"{path}:{number}: {parsed}")
        elif parsed.id in examples:
            problems.append(f"{path}:{number}: {parsed.id!r} is listed twice")
        else:
            examples[parsed.id] = parsed
    if problems:
        raise DataError(f"{len(problems)} lines of {path.name} cannot be used:", problems)
    if not examples:
        raise DataError(f"{path}: the list is empty; expected lines such as 'Abyssinian_1 1 1 1'")
    return list(examples.values())


def read_trainval(root: Path) -> list[Example]:
    """Read the examples that may train or choose anything.

    Raises:
        DataError: the list cannot be used, or names examples that the test list names too.
    """
    examples = read_list(root, "trainval")
    if (root / "annotations" / "test.txt").exists():
        tested = {example.id for example in read_list(root, "test")}
        shared = [example.id for example in examples if example.id in tested]
        if shared:
            raise DataError(
                f"{len(shared)} examples stand in trainval.txt and in test.txt of "
                f"{root / 'annotations'}; whoever trains on them is tested on what it has seen. "
                "Remove each from one of the lists:",
                shared,
            )
    return examples


def _parse(root: Path, line: str) -> Example | str:
    """Turn one line into an example, or say what is wrong with it."""
    columns = line.strip().rsplit(maxsplit=3)
    if len(columns) != 4 or not all(
        column.isascii() and column.isdigit() for column in columns[1:]
    ):
        return f"expected 'NAME CLASS SPECIES BREED', got {line.strip()[:80]!r}"
    name, _, species, _ = columns
    if "/" in name or "\\" in name or name.startswith(".") or not name.isprintable():
        return f"{name!r} is not the plain name of a file"
    if species not in _SPECIES:
        return f"{name}: species is {species}, expected 1 (cat) or 2 (dog)"
    return Example(
        id=name,
        breed=name.rsplit("_", 1)[0],
        species=_SPECIES[species],
        image=root / "images" / f"{name}.jpg",
        trimap=root / "annotations" / "trimaps" / f"{name}.png",
    )


def decode_image(content: bytes, path: Path) -> NDArray[np.uint8]:
    """Decode a photograph to uint8 (H, W, 3) RGB by the rule at the head of this module.

    Raises:
        ExampleError: it is refused; the message names `path`.
    """
    with _open(content, path, _IMAGE_FORMATS, _IMAGE_MODES) as image:
        if "A" in image.getbands() or "transparency" in image.info:
            layer = image.convert("RGBA")
            image = Image.new("RGBA", layer.size, "white")
            image.alpha_composite(layer)
        return np.array(image.convert("RGB"))


def decode_trimap(content: bytes, path: Path) -> NDArray[np.uint8]:
    """Decode a trimap to uint8 (H, W) with values in {1, 2, 3} and a pet.

    Raises:
        ExampleError: it is not such a trimap; the message names `path`.
    """
    with _open(content, path, ("PNG",), ("L", "P")) as image:
        trimap = np.array(image)
    values = np.flatnonzero(np.bincount(trimap.ravel(), minlength=1)).tolist()
    strange = sorted(set(values) - {PET, BACKGROUND, BORDER})
    if strange:
        shown = ", ".join(map(str, strange[:5])) + (", ..." if len(strange) > 5 else "")
        raise ExampleError(f"{path}: expected trimap values 1, 2 and 3, found {shown}")
    if PET not in values:
        raise ExampleError(f"{path}: the trimap has no pet (no pixel of value 1)")
    return trimap


def decode(example: Example, image: bytes, trimap: bytes) -> Pixels:
    """Decode the two files of an example from their content.

    Raises:
        ExampleError: either is refused, or their sizes differ; names every one of its offenders.
    """
    problems = []
    pixels: list[NDArray[np.uint8]] = []
    for decoder, content, path in (
        (decode_image, image, example.image),
        (decode_trimap, trimap, example.trimap),
    ):
        try:
            pixels.append(decoder(content, path))
        except ExampleError as error:
            problems.append(str(error))
    if not problems and pixels[0].shape[:2] != pixels[1].shape:
        sizes = [f"{p.shape[1]} x {p.shape[0]}" for p in pixels]
        problems.append(f"{example.trimap}: is {sizes[1]} pixels, but its image is {sizes[0]}")
    if problems:
        raise ExampleError("; ".join(problems))
    return Pixels(image=pixels[0], trimap=pixels[1])


def read_files(example: Example) -> tuple[bytes, bytes]:
    """Return the bytes of image and trimap.

    Raises:
        ExampleError: names each file that is missing, unreadable or empty.
    """
    contents, problems = [], []
    for path in (example.image, example.trimap):
        try:
            contents.append(path.read_bytes())
            if not contents[-1]:
                problems.append(f"{path}: the file is empty")
        except OSError as error:
            problems.append(f"{path}: {error.strerror or error}")
    if problems:
        raise ExampleError("; ".join(problems))
    return contents[0], contents[1]


def binary_mask(
    trimap: NDArray[np.uint8], border: str
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Turn a trimap into the mask that is learned and the pixels that count.

    Args:
        trimap: uint8 (H, W), values in {1, 2, 3}.
        border: what 3 becomes: `pet`, `background` or `ignore`.

    Returns:
        (mask, valid): uint8 (H, W), both in {0, 1}; mask 1 = pet. `valid` is 1 everywhere but on
        an ignored border, where mask is 0.
    """
    mask = (trimap == PET) | ((trimap == BORDER) & (border == "pet"))
    valid = (trimap != BORDER) | (border != "ignore")
    return mask.astype(np.uint8), valid.astype(np.uint8)


def _open(
    content: bytes, path: Path, formats: tuple[str, ...], modes: tuple[str, ...]
) -> Image.Image:
    """Open and decode an image to the end, or say why it is refused."""
    try:
        image = Image.open(io.BytesIO(content), formats=formats)
        problem = _refusal(image, modes, content)
        if problem is None:
            image.load()
    except _UNREADABLE as error:
        if isinstance(error, UnidentifiedImageError):
            problem = f"is not a {' or '.join(formats)} file"
        else:
            problem = f"cannot be decoded ({error})"
    if problem:
        raise ExampleError(f"{path}: {problem}")
    return image


def _refusal(image: Image.Image, modes: tuple[str, ...], content: bytes) -> str | None:
    """Say why an image is not used, from its header alone, or None."""
    frames = getattr(image, "n_frames", 1) if image.format != "MPO" else 1
    if image.width * image.height > MAX_PIXELS:
        return f"has {image.width} x {image.height} pixels; at most {MAX_PIXELS:,} are read"
    if frames > 1:
        return f"is an animation of {frames} frames; expected one picture"
    if image.format == "PNG" and content[24] == 16:  # bit depth; Pillow would drop half of it
        return "has 16 bits a sample; expected 8"
    if image.mode not in modes:
        return f"has samples of Pillow mode {image.mode}; expected one of {', '.join(modes)}"
    return None
