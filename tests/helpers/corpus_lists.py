"""Lists of examples, odd and broken: the ids that they give, or all that the refusal names."""

import dataclasses
import os
from pathlib import Path

from tests.helpers.corpus import Content


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listed:
    """What lies in the place of `trainval.txt`.

    Attributes:
        kind: the row of the table.
        content: of the file.
        ids: the examples that it lists; empty if it is refused.
        reasons: what the refusal says, all of it in one message.
    """

    kind: str
    content: Content
    ids: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


_THREE = ("a_1", "b_2", "c 3")
_LINES = tuple(f"{name} 1 {1 + position % 2} 1" for position, name in enumerate(_THREE))
_PLAIN = "is not the plain name of a file"
_COLUMNS = "expected 'NAME CLASS SPECIES BREED', got "

#: Lists of the same three examples in every way of writing a text.
USED = (
    ("list, ends of lines", "\n".join(_LINES).encode()),
    ("list, ends of lines", "\r\n".join(_LINES).encode() + b"\r\n"),
    ("list, ends of lines", "\r".join(_LINES).encode() + b"\r"),
    ("list, ends of lines", "{}\n{}\r\n{}\r".format(*_LINES).encode()),
    ("list, byte order mark", b"\xef\xbb\xbf" + "\n".join(_LINES).encode()),
    (
        "list, comments and blank lines",
        "# pets\n\n{}\n \t\n  # more\n{}\n{}".format(*_LINES).encode(),
    ),
    ("list, tabs and further blanks", "\n".join(_LINES).replace(" 1", "\t1").encode()),
    ("list, tabs and further blanks", "\n".join(f"  {line} \t" for line in _LINES).encode()),
    ("list, tabs and further blanks", "\n".join(f"{line}\x0c" for line in _LINES).encode()),
)

#: A line that is refused, and what the refusal says of it besides the list and the line's number.
BAD_LINES = (
    ("line, columns missing", "lonely", _COLUMNS + "'lonely'"),
    ("line, columns missing", "two 1", _COLUMNS + "'two 1'"),
    ("line, columns missing", "three 1 1", _COLUMNS + "'three 1 1'"),
    ("line, columns missing", "1 1 1", _COLUMNS + "'1 1 1'"),
    ("line, no numbers", "words one two three", _COLUMNS),
    ("line, no numbers", "comma,1,1,1", _COLUMNS),
    ("line, no numbers", "shares_1 1 1.0 1", _COLUMNS),
    ("line, no numbers", "minus_1 1 -1 1", _COLUMNS),
    ("line, no numbers", "wide_1 1 \uff11 1", _COLUMNS),
    ("line, no numbers", "arabic_1 1 \u0661 1", _COLUMNS),
    ("line, no numbers", '{"name": "json_1"}', _COLUMNS),
    ("line, no numbers", "note_1 1 1 1 # a note", _COLUMNS),
    ("line, other species", "none_1 1 0 1", "none_1: species is 0, expected 1 (cat) or 2 (dog)"),
    ("line, other species", "bird_1 1 3 1", "bird_1: species is 3"),
    ("line, other species", f"many_1 1 {'9' * 5000} 1", "many_1: species is 999"),
    ("line, name that leads elsewhere", ".. 1 1 1", f"'..' {_PLAIN}"),
    ("line, name that leads elsewhere", "../up_1 1 1 1", f"'../up_1' {_PLAIN}"),
    ("line, name that leads elsewhere", "a/../../b_1 1 1 1", f"'a/../../b_1' {_PLAIN}"),
    ("line, name that leads elsewhere", "/etc/passwd 1 1 1", f"'/etc/passwd' {_PLAIN}"),
    ("line, name that leads elsewhere", "sub/a_1 1 1 1", f"'sub/a_1' {_PLAIN}"),
    ("line, name that leads elsewhere", "..\\up_1 1 1 1", _PLAIN),
    ("line, name that leads elsewhere", "C:\\pets\\a_1 1 1 1", _PLAIN),
    ("line, hidden name", ".hidden_1 1 1 1", f"'.hidden_1' {_PLAIN}"),
    ("line, invisible signs", "nul\0_1 1 1 1", f"'nul\\x00_1' {_PLAIN}"),
    ("line, invisible signs", "bell\x07_1 1 1 1", f"'bell\\x07_1' {_PLAIN}"),
    ("line, invisible signs", "\x1b[31mred_1 1 1 1", f"'\\x1b[31mred_1' {_PLAIN}"),
    ("line, invisible signs", "tab\tin_1 1 1 1", f"'tab\\tin_1' {_PLAIN}"),
    ("line, invisible signs", "gpj.\u202etac_1 1 1 1", f"'gpj.\\u202etac_1' {_PLAIN}"),
    ("line, invisible signs", "zero\u200bwidth_1 1 1 1", f"'zero\\u200bwidth_1' {_PLAIN}"),
    ("line, invisible signs", "family\U0001f469\u200d\U0001f467_1 1 1 1", _PLAIN),
    ("line, invisible signs", "mark\ufeff_1 1 1 1", f"'mark\\ufeff_1' {_PLAIN}"),
    ("line, other ends of lines", "d_4 1 1 1\u2028e_5 1 1 1", f"'d_4 1 1 1\\u2028e_5' {_PLAIN}"),
    ("line, other ends of lines", "f_6 1 1 1\x0bg_7 1 1 1", f"'f_6 1 1 1\\x0bg_7' {_PLAIN}"),
    ("line, other ends of lines", "h_8 1 1 1\x1ci_9 1 1 1", f"'h_8 1 1 1\\x1ci_9' {_PLAIN}"),
    ("line, other ends of lines", "j_8 1 1 1\x85k_9 1 1 1", f"'j_8 1 1 1\\x85k_9' {_PLAIN}"),
    ("line, too long", "x" * 252 + " 1 1 1", "is longer than a file's name can be (251 bytes)"),
    ("line, too long", "\u732b" * 84 + " 1 1 1", "is longer than a file's name can be (251 bytes)"),
    ("line, too long", "y" * 3_000_000 + " 1 1 1", "is longer than a file's name can be"),
    ("line, too long", "z" * 3_000_000, _COLUMNS),
    ("line, listed twice", "a_1 1 1 1", "'a_1' is listed twice"),
    (
        "line, listed twice",
        "A_1 1 1 1",
        "'A_1' is listed twice: some file systems take it for 'a_1'",
    ),
    (
        "line, listed twice",
        "cafe\u0301_1 1 1 1\ncaf\u00e9_1 1 1 1",
        "'caf\\xe9_1' is listed twice: some file systems take it for 'cafe\\u0301_1'",
    ),
)

#: What is no list at all.
NO_LISTS: tuple[tuple[str, Content, str], ...] = (
    ("list, not UTF-8", "ñandú_1 1 1 1\n".encode("latin-1"), "expected a readable UTF-8 list"),
    ("list, not UTF-8", "\n".join(_LINES).encode("utf-16"), "expected a readable UTF-8 list"),
    ("list, not UTF-8", b"\xff\xd8\xff\xe0" + bytes(90), "expected a readable UTF-8 list"),
    ("list, empty", b"", "the file is empty"),
    ("list, empty", b"# nothing\n\n", "the list is empty; expected lines such as"),
    ("list, empty", b"\xef\xbb\xbf", "the list is empty; expected lines such as"),
    ("list, missing or no file", lambda path: None, "annotations/trainval.txt"),
    ("list, missing or no file", Path.mkdir, "is not a plain file"),
    ("list, missing or no file", os.mkfifo, "is not a plain file"),
    ("list, missing or no file", lambda path: path.symlink_to("/dev/zero"), "is not a plain file"),
    ("list, missing or no file", lambda path: path.symlink_to(path.name), "trainval.txt"),
)

#: Good lines, then every bad one: all are named at once.
ALL_BAD_LINES = "\n".join((*_LINES, *(line for _, line, _ in BAD_LINES))) + "\n"


def lists() -> list[Listed]:
    """Every list of the corpus."""
    used = [Listed(kind=kind, content=content, ids=_THREE) for kind, content in USED]
    used.append(Listed(kind="line, further columns", content=b"a_1 1 1 1 9\n", ids=("a_1 1",)))
    lines = [
        Listed(
            kind=kind,
            content="\n".join((*_LINES, line, "d 1 1 1")).encode(),
            reasons=("trainval.txt:", said),
        )
        for kind, line, said in BAD_LINES
    ]
    none = [
        Listed(kind=kind, content=content, reasons=("trainval.txt", said))
        for kind, content, said in NO_LISTS
    ]
    everything = Listed(
        kind="all bad lines at once",
        content=ALL_BAD_LINES.encode(),
        reasons=(
            f"{len(BAD_LINES)} lines of trainval.txt cannot be used",
            *(said for _, _, said in BAD_LINES),
        ),
    )
    return [*used, *lines, *none, everything]
