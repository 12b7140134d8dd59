"""The data set on disk: the layout of Oxford-IIIT Pet and its lists.

    FOLDER/images/NAME.jpg                  photographs
    FOLDER/annotations/trimaps/NAME.png     1 = pet, 2 = background, 3 = border
    FOLDER/annotations/trainval.txt, test.txt      NAME CLASS SPECIES BREED a line

The lists are the truth; what else lies in the folders is not looked at. A JPEG may have any of its
endings, and what does not lie there so written is taken if it does in capitals, or without.
"""

import contextlib
import os
from collections.abc import Iterable, Sequence
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


def read_list(root: Path, name: str) -> list[Example]:
    """Read `annotations/NAME.txt`; blank lines and lines that begin with # do not count.

    Lines end as text files of Unix, Windows and old Macs do, and in no other way.

    Raises:
        DataError: the list is missing or empty, or lines are malformed or name an example again:
            all of them are named.
    """
    path = entry(root, "annotations", f"{name}.txt")
    try:
        text = read_regular_file(path).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a readable UTF-8 list of examples ({error})") from error
    images = _Files(entry(root, "images"), JPEG_ENDINGS)
    trimaps = _Files(entry(root, "annotations", "trimaps"), (".png",))
    examples: dict[str, Example] = {}
    problems = []
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parsed = _parse(images, trimaps, line)
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


def read_lists(root: Path, names: Sequence[str]) -> dict[str, list[Example]]:
    """Read several lists; raises a DataError that names what is wrong with all of them."""
    lists, refusals = {}, []
    for name in names:
        try:
            lists[name] = read_list(root, name)
        except DataError as error:
            refusals.append(str(error))
    if refusals:
        raise DataError("\n".join(refusals))
    return lists


def has_test_list(root: Path) -> bool:
    """Tell whether there is a `test.txt`; a broken link counts, so that reading it says so."""
    return os.path.lexists(entry(root, "annotations", "test.txt"))


def read_trainval(root: Path) -> list[Example]:
    """Read the examples that may train or choose anything.

    Raises:
        DataError: a list cannot be used, or names examples that the test list names too.
    """
    lists = read_lists(root, LISTS if has_test_list(root) else LISTS[:1])
    if shared := set(listed_twice(lists["trainval"], lists.get("test", ())).values()):
        raise DataError(
            f"{len(shared)} examples stand in trainval.txt and in test.txt of "
            f"{root / 'annotations'}; whoever trains on them is tested on what it has seen. "
            "Remove each from one of the lists:",
            sorted(shared),
        )
    return lists["trainval"]


def listed_twice(trainval: Iterable[Example], test: Iterable[Example]) -> dict[str, str]:
    """Find the examples that stand in both lists.

    Returns:
        For each id of either list that the other has too: the name, as both lists write it.
    """
    tested = {casefold_key(example.id): example.id for example in test}
    twice = {}
    for example in trainval:
        if other := tested.get(casefold_key(example.id)):
            same = example.id == other
            twice[other] = twice[example.id] = other if same else f"{example.id!a} and {other!a}"
    return twice


def entry(folder: Path, *names: str) -> Path:
    """Return the path of what lies in a folder, or in one within, in capitals or not."""
    for name in names:
        files = _Files(folder, (Path(name).suffix,))
        folder = files.path(Path(name).stem)
    return folder


class _Files:
    """The entries of a folder whose names have one of some endings, looked up without it."""

    def __init__(self, folder: Path, endings: Sequence[str]) -> None:
        self._folder, self._ending = folder, endings[0]
        self._names: dict[str, list[str]] = {}
        with contextlib.suppress(OSError):  # said when something in it is read
            for name in sorted(os.listdir(folder)):
                stem, ending = os.path.splitext(name)
                if ending.lower() in endings:
                    self._names.setdefault(casefold_key(stem), []).append(name)

    def path(self, stem: str) -> Path:
        """Return the path that is there, or the one that should be."""
        usual = f"{stem}{self._ending}"
        there = self._names.get(casefold_key(stem), [])
        return self._folder / (usual if usual in there or not there else there[0])


def _parse(images: _Files, trimaps: _Files, line: str) -> Example | str:
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
        image=images.path(name),
        mask=trimaps.path(name),
    )
