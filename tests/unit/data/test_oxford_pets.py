"""The lists are the truth: odd ones are read, broken ones refused with all that is wrong."""

import os
from pathlib import Path

import pytest

from segmentation.data.oxford_pets import find_root, read_lists
from segmentation.errors import DataError
from tests.helpers.corpus import Content, put

IDS = ("a_1", "b_2", "c 3")
LINES = ("a_1 1 1 1", "b_2 1 2 1", "c 3 1 1 1")

#: Lists of these three examples in every way of writing a text.
USED = {
    "LF": "\n".join(LINES),
    "CRLF, CR": "{}\r\n{}\r{}\r\n".format(*LINES),
    "byte order mark": "\ufeff" + "\n".join(LINES),
    "comments, blank lines": "# pets\n\n{}\n \t\n  # more\n{}\n{}".format(*LINES),
    "tabs, further blanks": "\n".join(f"  {line} \t" for line in LINES).replace(" 1", "\t1"),
}

_PLAIN = "is not the plain name of a file"
_COLUMNS = "expected 'NAME CLASS SPECIES BREED', got "
_LONG = "is longer than a file's name can be (251 bytes)"

#: A line that is refused, and what the refusal says of it besides the list and the line's number.
BAD_LINES = (
    ("three 1 1", _COLUMNS + "'three 1 1'"),
    ("arabic_1 1 \u0661 1", _COLUMNS),
    ("bird_1 1 3 1", "bird_1: species is 3, expected 1 (cat) or 2 (dog)"),
    (f"many_1 1 {'9' * 5000} 1", "many_1: species is 999"),
    ("/etc/passwd 1 1 1", f"'/etc/passwd' {_PLAIN}"),
    ("..\\up_1 1 1 1", _PLAIN),
    ("\x1b[31mred_1 1 1 1", f"'\\x1b[31mred_1' {_PLAIN}"),
    ("d_4 1 1 1\u2028e_5 1 1 1", f"'d_4 1 1 1\\u2028e_5' {_PLAIN}"),
    ("\u732b" * 84 + " 1 1 1", _LONG),
    ("z" * 3_000_000, _COLUMNS),
    ("a_1 1 1 1", "'a_1' is listed twice"),
    ("A_1 1 1 1", "'A_1' is listed twice: some file systems take it for 'a_1'"),
    ("cafe\u0301_1 1 1 1\ncaf\u00e9_1 1 1 1", "some file systems take it for 'cafe\\u0301_1'"),
)
#: What is no list at all.
NO_LISTS: dict[str, tuple[Content, str]] = {
    "latin-1": ("ñandú_1 1 1 1\n".encode("latin-1"), "expected a readable UTF-8 list"),
    "empty": (b"", "the file is empty"),
    "comment": (b"# nothing\n\n", "the list is empty; expected lines such as"),
    "missing": (lambda path: None, "No such file"),
    "pipe": (os.mkfifo, "is not a plain file"),
}


ENDINGS = (".JPG", ".Jpg", ".jpeg", ".JPEG", ".jfif", ".jpe")


@pytest.fixture
def trainval(tmp_path: Path) -> Path:
    """Where the list of a data set is to be."""
    (tmp_path / "annotations").mkdir()
    return tmp_path / "annotations" / "trainval.txt"


def read(trainval: Path) -> tuple[str, ...]:
    return tuple(example.id for example in read_lists(trainval.parent.parent)["trainval"])


@pytest.mark.parametrize("text", USED.values(), ids=USED)
def test_a_list_is_read_however_its_lines_are_written(trainval: Path, text: str) -> None:
    trainval.write_bytes(text.encode())
    assert read(trainval) == IDS


def test_what_an_example_is_follows_from_its_line(trainval: Path) -> None:
    trainval.write_text("two words_7 1 2 1 9\n")  # columns too many belong to the name
    (example,) = read_lists(trainval.parent.parent)["trainval"]
    assert (example.id, example.kind, example.species) == ("two words_7 1", "two words", "cat")
    assert example.image == trainval.parent.parent / "images" / "two words_7 1.jpg"


def test_all_bad_lines_are_named_at_once_and_long_ones_cut(trainval: Path) -> None:
    trainval.write_bytes("\n".join((*LINES, *(line for line, _ in BAD_LINES))).encode())
    with pytest.raises(DataError, match=f"{len(BAD_LINES)} lines of trainval.txt cannot be used"):
        read(trainval)
    for line, reason in BAD_LINES:
        trainval.write_bytes("\n".join((*LINES, line, "d 1 1 1")).encode())
        with pytest.raises(DataError) as raised:
            read(trainval)
        (problem,) = raised.value.problems
        assert "trainval.txt:" in problem
        assert reason in problem
        assert len(problem) < 1000


@pytest.mark.parametrize(("content", "reason"), NO_LISTS.values(), ids=NO_LISTS)
def test_what_is_no_list_is_refused_by_name(trainval: Path, content: Content, reason: str) -> None:
    put(trainval, content)
    with pytest.raises(DataError, match=f"trainval.txt: .*{reason}"):
        read(trainval)


def test_an_example_in_both_lists_is_refused(trainval: Path) -> None:
    trainval.write_text("a_1 1 1 1\nb_2 1 1 1\n")
    (trainval.parent / "test.txt").write_text("A_1 1 1 1\n")
    with pytest.raises(DataError, match=r"(?s)1 examples stand in .*'a_1' and 'A_1'"):
        read_lists(trainval.parent.parent)


def test_what_lies_there_in_capitals_or_as_another_jpeg_is_found(own_pets: Path) -> None:
    before = read_lists(own_pets)["trainval"]
    for path, ending in zip(sorted((own_pets / "images").iterdir()), ENDINGS, strict=False):
        path.rename(path.with_suffix(ending))
    for path in (own_pets / "annotations" / "trimaps").iterdir():
        path.rename(path.with_suffix(".PNG"))
    for name in ("trainval", "test"):
        path = own_pets / "annotations" / f"{name}.txt"
        path.rename(path.with_name(f"{name.upper()}.TXT"))
    for name in ("images", "annotations"):
        (own_pets / name).rename(own_pets / name.capitalize())
    assert find_root(own_pets) == own_pets
    assert len(read_lists(own_pets)["test"]) == 10
    found = read_lists(own_pets)["trainval"]
    assert [one.id for one in found] == [one.id for one in before]
    assert all(one.image.exists() and one.mask.exists() for one in found)


def test_a_folder_of_another_layout_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected a folder in the layout.*trainval\.txt"):
        find_root(tmp_path)


def test_the_folder_around_the_data_set_is_taken_too(own_pets: Path, tmp_path: Path) -> None:
    (tmp_path / "around").mkdir()
    own_pets.rename(tmp_path / "around" / "oxford-iiit-pet")
    assert find_root(tmp_path / "around") == tmp_path / "around" / "oxford-iiit-pet"
