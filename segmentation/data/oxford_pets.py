"""The data set on disk: the layout of Oxford-IIIT Pet and its lists.

    FOLDER/images/NAME.jpg                  photographs
    FOLDER/annotations/trimaps/NAME.png     1 = pet, 2 = background, 3 = border
    FOLDER/annotations/trainval.txt, test.txt      NAME CLASS SPECIES BREED a line

The lists are the truth; what else lies in the folders is not looked at. A JPEG may have any of its
endings, and what does not lie there so written is taken if it does in capitals, or without.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from segmentation.data.example import Example
from segmentation.errors import DataError
from segmentation.utils.files import read_regular_file
from segmentation.utils.paths import casefold_key

LISTS = ("trainval", "test")
#: How the names of JPEG files end, also in capitals.
JPEG_ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif")

#: The command that downloads the data set.
HOW_TO_PREPARE = "mlflow run . -e prepare --env-manager local"

_SPECIES = {"1": "cat", "2": "dog"}
_SHOWN = 80  # characters of a wrong line that an error repeats
_LONGEST = 255 - len(".jpg")  # bytes of a name, by the file systems in common use


def find_root(folder: Path) -> Path:
    """Return the folder that holds `images` and `annotations`: `folder` or its `oxford-iiit-pet`.

    Raises:
        DataError: it is missing or has not that layout; the message lists what is not there.
    """
    for root in (folder, folder / "oxford-iiit-pet"):
        if entry(root, "annotations").is_dir():
            break
    else:
        root = folder
    if not folder.is_dir():
        raise DataError(
            f"data={folder}: there is no such folder; give one that holds images/ and masks/, or "
            f"images/ and annotations/, or let `{HOW_TO_PREPARE}` download the data set"
        )
    if missing := missing_parts(root):
        raise DataError(
            f"data={folder}: expected a folder in the layout of Oxford-IIIT Pet, but it has no "
            f"{', '.join(missing)}; give the folder that holds images/ and annotations/, or own "
            f"images/ and masks/, or let `{HOW_TO_PREPARE}` download the data set"
        )
    return root


def missing_parts(root: Path) -> list[str]:
    """Return what a data set must have and `root` has not."""
    needed = ("images", "annotations", "annotations/trimaps", "annotations/trainval.txt")
    return [name for name in needed if not entry(root, *name.split("/")).exists()]


def read_lists(root: Path) -> dict[str, list[Example]]:
    """Read the lists; without a `test.txt` that one is empty, but a broken link is told.

    Raises:
        DataError: a list cannot be used, or examples stand in both; all that is wrong is named.
    """
    lists: dict[str, list[Example]] = {name: [] for name in LISTS}
    errors = []
    for name in LISTS:
        path = entry(root, "annotations", f"{name}.txt")
        try:
            if name != "test" or os.path.lexists(path):
                lists[name] = _read_list(root, path)
        except DataError as error:
            errors.append(error)
    if errors:
        raise errors[0] if len(errors) == 1 else DataError("\n".join(map(str, errors)))
    tested = {casefold_key(one.id): one.id for one in lists["test"]}
    pairs = ((one.id, tested.get(casefold_key(one.id))) for one in lists["trainval"])
    if shared := {a if a == b else f"{a!a} and {b!a}" for a, b in pairs if b}:
        raise DataError(
            f"{len(shared)} examples stand in trainval.txt and in test.txt of "
            f"{root / 'annotations'}; whoever trains on them is tested on what it has seen. "
            "Remove each from one of the lists:",
            sorted(shared),
        )
    return lists


def _read_list(root: Path, path: Path) -> list[Example]:
    """Read a list; blank lines and lines that begin with # do not count.

    Lines end as text files of Unix, Windows and old Macs do, and in no other way.
    """
    try:
        text = read_regular_file(path).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a readable UTF-8 list of examples ({error})") from error
    image = _finder(entry(root, "images"), JPEG_ENDINGS)
    trimap = _finder(entry(root, "annotations", "trimaps"), (".png",))
    examples: dict[str, Example] = {}
    problems = []
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parsed = _parse(image, trimap, line)
        if isinstance(parsed, str):
            problems.append(f"{path}:{number}: {parsed}")
        elif first := examples.get(casefold_key(parsed.id)):
            again = f": some file systems take it for {first.id!a}" * (first.id != parsed.id)
            problems.append(f"{path}:{number}: {parsed.id!a} is listed twice{again}")
        else:
            examples[casefold_key(parsed.id)] = parsed
    if problems:
        raise DataError(f"{len(problems)} lines of {path.name} cannot be used:", problems)
    if not examples:
        raise DataError(f"{path}: the list is empty; expected lines such as 'Abyssinian_1 1 1 1'")
    return list(examples.values())


def entry(folder: Path, *names: str) -> Path:
    """Return the path of what lies in a folder, or in one within, in capitals or not."""
    for name in map(Path, names):
        folder = _finder(folder, (name.suffix,))(name.stem)
    return folder


def _finder(folder: Path, endings: Sequence[str]) -> Callable[[str], Path]:
    """Return what finds a file by its name without ending: one that is there, or should be."""
    names: dict[str, list[str]] = {}
    with contextlib.suppress(OSError):  # said when something in it is read
        for name in sorted(os.listdir(folder)):
            stem, ending = os.path.splitext(name)
            if ending.lower() in endings:
                names.setdefault(casefold_key(stem), []).append(name)

    def find(stem: str) -> Path:
        usual = f"{stem}{endings[0]}"
        there = names.get(casefold_key(stem), [usual])
        return folder / (usual if usual in there else there[0])

    return find


def _parse(image: Callable[[str], Path], trimap: Callable[[str], Path], line: str) -> Example | str:
    """Turn one line into an example, or say what is wrong with it."""
    columns = line.strip().rsplit(maxsplit=3)
    if len(columns) != 4 or not all(
        column.isascii() and column.isdigit() for column in columns[1:]
    ):
        return f"expected 'NAME CLASS SPECIES BREED', got {line.strip()[:_SHOWN]!r}"
    name, _, species, _ = columns
    if "/" in name or "\\" in name or name.startswith(".") or not name.isprintable():
        return f"{name[:_SHOWN]!r} is not the plain name of a file"
    if len(name.encode()) > _LONGEST:
        return f"{name[:_SHOWN]!r}... is longer than a file's name can be ({_LONGEST} bytes)"
    if species not in _SPECIES:
        return f"{name}: species is {species[:_SHOWN]}, expected 1 (cat) or 2 (dog)"
    return Example(
        id=name,
        key=name,
        kind=name.rsplit("_", 1)[0],
        species=_SPECIES[species],
        image=image(name),
        mask=trimap(name),
    )
