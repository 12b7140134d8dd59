"""The data set on disk: the layout of Oxford-IIIT Pet and its lists.

    FOLDER/images/NAME.jpg                  photographs
    FOLDER/annotations/trimaps/NAME.png     1 = pet, 2 = background, 3 = border
    FOLDER/annotations/trainval.txt, test.txt      NAME CLASS SPECIES BREED a line

The lists are the truth; what else lies in the folders is not looked at.
"""

import dataclasses
from pathlib import Path

from segmentation.errors import DataError

LISTS = ("trainval", "test")

#: The command that downloads the data set.
HOW_TO_PREPARE = "mlflow run . -e prepare --env-manager local"

_SPECIES = {"1": "cat", "2": "dog"}


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


def find_root(folder: Path) -> Path:
    """Return the folder that holds `images` and `annotations`: `folder` or its `oxford-iiit-pet`.

    Raises:
        DataError: it is missing or has not that layout; the message lists what is not there.
    """
    for root in (folder, folder / "oxford-iiit-pet"):
        if (root / "annotations").is_dir():
            break
    else:
        root = folder
    if missing := missing_parts(root):
        raise DataError(
            f"data={folder}: expected a folder in the layout of Oxford-IIIT Pet, but it has no "
            f"{', '.join(missing)}; give the folder that holds images/ and annotations/, or let "
            f"`{HOW_TO_PREPARE}` download the data set"
        )
    return root


def missing_parts(root: Path) -> list[str]:
    """Return what a data set must have and `root` has not."""
    needed = ("images", "annotations", "annotations/trimaps", "annotations/trainval.txt")
    return [name for name in needed if not (root / name).exists()]


def read_list(root: Path, name: str) -> list[Example]:
    """Read `annotations/NAME.txt`; blank lines and lines that begin with # do not count.

    Raises:
        DataError: the list is missing or empty, or lines are malformed: all of them are named.
    """
    path = root / "annotations" / f"{name}.txt"
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
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
