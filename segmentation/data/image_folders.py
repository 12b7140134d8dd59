"""Own images and masks: a folder with a mask for each image, and who is in which list.

    FOLDER/images/ANY/NAME.jpg          photos, any depth below
    FOLDER/masks/ANY/NAME.png           of each its mask, under the same relative path
    FOLDER/test/images, test/masks      the same of a test set of one's own, if there is one

Without the latter a fifth of the images is the test set, chosen by a hash of the content.
"""

import csv
import dataclasses
import hashlib
import io
import os
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from segmentation.data.example import Example, Labels
from segmentation.data.oxford_pets import entry
from segmentation.data.photo_folder import ENDINGS, list_files
from segmentation.data.splits import in_fifth
from segmentation.errors import DataError
from segmentation.utils.files import read_regular_file
from segmentation.utils.paths import casefold_key, printable

_MASK_ENDINGS = (".png", ".bmp", ".tif", ".tiff", ".gif", ".jpg", ".jpeg")
_HASHED = 1 << 16  # bytes of an image that tell it from others of the same size


def is_image_folder(root: Path) -> bool:
    """Tell whether a folder holds own images and masks; what has trimaps is in Oxford's layout."""
    both = entry(root, "images").is_dir() and entry(root, "masks").is_dir()
    return both and not entry(root, "annotations", "trimaps").exists()


def read_image_folder(root: Path, labels: Labels, groups: str) -> dict[str, list[Example]]:
    """Find the examples that may train or choose anything, `trainval`, and those of `test`.

    `groups` is a CSV file with the columns path, group and perhaps class, or `none`.

    Raises:
        DataError: images and masks are no pairs, or the CSV cannot be used; all is named.
    """
    problems: list[str] = []
    test = _pairs(entry(root, "test"), "test/", labels, problems)
    examples = _pairs(root, "", labels, problems)
    apart = {casefold_key(one.id): one.image for one in test}
    problems += [
        f"{one.image}: {apart[key]} counts as of the same name; rename one, or remove it"
        for one in examples
        if (key := casefold_key(one.id)) in apart
    ]
    if problems:
        told = [*map(printable, problems)]
        raise DataError(f"{len(told)} images or masks of {root} make no pair:", told)
    if not examples:
        raise DataError(f"{entry(root, 'images')}: no file there ends in {', '.join(ENDINGS)}")
    if groups != "none":
        examples, test = _grouped(Path(groups), examples, test)
    if not test:
        test = [example for example in examples if in_fifth(f"test {example.key}")]
        examples = [example for example in examples if not in_fifth(f"test {example.key}")]
    return {"trainval": examples, "test": test}


def _pairs(folder: Path, prefix: str, labels: Labels, problems: list[str]) -> list[Example]:
    """Pair the images and masks of a folder; a line for each that cannot be is added."""
    sides = {"image": entry(folder, "images"), "mask": entry(folder, "masks")}
    images = _by_name(sides["image"], ENDINGS, problems)
    masks = _by_name(sides["mask"], _MASK_ENDINGS, problems)
    problems += _broken_links([folder, *sides.values()])
    examples = []
    for name in sorted(images | masks):
        pair, wrong = (images.get(name, []), masks.get(name, [])), []
        for (what, side), paths in zip(sides.items(), pair, strict=True):
            if not paths:
                (there, *_) = pair[0] or pair[1]
                wrong.append(f"{there}: has no {what}; expected one so named in {side}")
            elif len(paths) > 1:
                same = f"{paths[1].name} has the same name; rename one, or remove it"
                wrong.append(f"{paths[0]}: {same}")
        if not name.isprintable():
            wrong.append(f"{name!a} in {folder}: is a name that cannot be shown; rename it")
        problems += wrong
        if not wrong:
            (image,), (mask,) = pair
            stem = image.relative_to(sides["image"]).with_suffix("").as_posix()
            names = {"id": prefix + stem, "key": _content_key(image)}
            examples.append(Example(**names, image=image, mask=mask, labels=labels))
    return sorted(examples, key=lambda example: example.id)


def _by_name(folder: Path, endings: Sequence[str], problems: list[str]) -> dict[str, list[Path]]:
    """Return the files of a folder by their relative paths without ending."""
    found: dict[str, list[Path]] = {}
    others = []
    for name in list_files(folder, links=True):
        if name.suffix.lower() in endings:
            key = casefold_key(name.with_suffix("").as_posix())
            found.setdefault(key, []).append(folder / name)
        else:
            others.append(folder / name)
    problems += _broken_links(others)  # what they led to may be a folder of images
    return found


def _broken_links(paths: Iterable[Path]) -> list[str]:
    lost = (path for path in paths if path.is_symlink() and not os.path.exists(path))
    return [f"{path}: is a link to what is not there; mend the link, or remove it" for path in lost]


def _content_key(image: Path) -> str:
    """Return a hash of an image's content, by which its split is chosen."""
    try:
        with image.open("rb") as file:
            head = file.read(_HASHED)
        return hashlib.sha256(f"{image.stat().st_size} ".encode() + head).hexdigest()
    except OSError:  # said when it is read
        return str(image)


def _grouped(path: Path, *lists: list[Example]) -> Iterator[list[Example]]:
    """Yield the lists, each example with its group, and its class where the file tells these."""
    known = {casefold_key(example.id) for examples in lists for example in examples}
    rows, kind, problems = _read_groups(path, known)
    seen: set[str] = set()
    for number, examples in enumerate(lists):
        found = []
        for one in examples:
            labels = dataclasses.replace(one.labels, kind=kind)
            group, name = rows.get(casefold_key(one.id), (one.key, ""))
            if not name and not number:  # a test set of one's own need not be listed
                problems.append(printable(f"{one.image}: is not in {path.name}"))
            found.append(dataclasses.replace(one, key=group, kind=name, labels=labels))
        groups = {one.key for one in found}
        problems += [f"{path}: group {one!r} is in test and outside" for one in groups & seen]
        seen |= groups
        yield found
    if problems:
        raise DataError(f"groups={path}: expected a row for each image, once:", problems)


def _read_groups(
    path: Path, known: Container[str]
) -> tuple[dict[str, tuple[str, str]], str, list[str]]:
    """Return group and kind by id, whether kinds are of `class` or `group`, and what is wrong."""
    try:
        text = read_regular_file(path).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=None), restval="")
        columns = reader.fieldnames or []
        numbered = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"groups={path}: expected a readable CSV in UTF-8 ({error})") from error
    if not {"path", "group"} <= set(columns):
        raise DataError(
            f"groups={path}: expected a first line path,group (or path,group,class), got "
            f"{text[:80].splitlines()[:1]}"
        )
    rows: dict[str, tuple[str, str]] = {}
    problems, kind = [], "class" if "class" in columns else "group"
    for number, row in numbered:
        name = PurePosixPath(row["path"].strip().replace("\\", "/"))
        key = casefold_key(str(name.with_suffix("") if name.suffix.lower() in ENDINGS else name))
        found = row["group"].strip(), row[kind].strip()
        if key not in known:
            problems.append(f"{path}:{number}: there is no image {str(name)!a} in images/")
        elif key in rows:
            problems.append(f"{path}:{number}: {str(name)!a} is listed twice")
        elif not all(found):
            problems.append(
                f"{path}:{number}: expected a {' and a '.join(dict.fromkeys(('group', kind)))}"
            )
        else:
            rows[key] = found
    return rows, kind, problems
