"""What became of each kind of the corpus, as a table."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

from segmentation.data.images.examples import decode, read_files
from segmentation.data.oxford_pets import LISTS, read_list
from segmentation.data.prepare.verification import verify
from segmentation.errors import DataError
from tests.helpers.corpus import Case, put
from tests.helpers.corpus_archives import archives, tried
from tests.helpers.corpus_lists import Listed, lists


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seen:
    """One file of the corpus after it was looked at.

    Attributes:
        kind: the row of the table.
        answer: the documented one.
        wrong: what the answer was, if another; empty if it was this one.
    """

    kind: str
    answer: str
    wrong: str


def seen_files(root: Path, cases: Sequence[Case]) -> list[Seen]:
    """Verify a data set that holds the cases, all at once, and compare answers and pixels."""
    report = verify(root, lambda done, total: None)
    examples = {example.id: example for name in LISTS for example in read_list(root, name)}
    seen = []
    for case in cases:
        example = examples[case.id]
        files = (str(example.image), str(example.trimap))
        lines = [line for line in report.problems if any(f"{file}: " in line for file in files)]
        if lines or case.refusals:
            wrong = misnamed(case, lines)
        else:
            pixels = decode(example, *read_files(example))
            wrong = case.wrong(pixels.image, pixels.trimap)
        seen.append(Seen(kind=case.kind, answer=case.answer, wrong=wrong))
    return seen


def misnamed(case: Case, lines: Sequence[str]) -> str:
    """Say what is wrong with the lines that name a case's files; empty if nothing is."""
    if len(lines) != 1:
        return f"{case.id}: named in {len(lines)} lines: {lines}"
    (line,) = lines
    for path in (f"images/{case.id}.jpg", f"trimaps/{case.id}.png"):
        reasons = [reason for named, reason in case.refusals if named == path]
        if (f"{path}: " in line) != bool(reasons) or any(r not in line for r in reasons):
            return f"{case.id}: expected {case.refusals}, got {line}"
    return ""


def seen_lists(folder: Path) -> list[Seen]:
    """Read every list of the corpus."""
    seen = []
    for number, listed in enumerate(lists()):
        root = folder / str(number)
        (root / "annotations").mkdir(parents=True)
        put(root / "annotations" / "trainval.txt", listed.content)
        answer = "used" if listed.ids else "refused"
        seen.append(Seen(kind=listed.kind, answer=answer, wrong=misread(root, listed)))
    return seen


def misread(root: Path, listed: Listed) -> str:
    """Say what is wrong with how a list is read; empty if nothing is."""
    try:
        ids = tuple(example.id for example in read_list(root, "trainval"))
    except DataError as error:
        missing = [reason for reason in listed.reasons if reason not in str(error)]
        if listed.ids or missing:
            return f"{listed.kind}: {str(error)[:500]}; expected {listed.ids or missing}"
        return "" if len(str(error)) < 20_000 else f"{listed.kind}: a flood of words"
    return "" if ids == listed.ids else f"{listed.kind}: read {ids}"


def seen_archives(good: Path, folder: Path) -> list[Seen]:
    """Download every pair of archives of the corpus from loopback."""
    return [
        Seen(kind=f"archive, {kind}", answer="refused", wrong=tried(kind, good, folder / kind))
        for kind in archives()
    ]


def markdown(seen: Iterable[Seen]) -> str:
    """The table: kind, files, the documented answer, how often it was given."""
    rows: dict[tuple[str, str], list[Seen]] = {}
    for one in seen:
        rows.setdefault((one.kind, one.answer), []).append(one)
    lines = ["| kind | files | documented answer | so answered |", "|---|---|---|---|"]
    for (kind, answer), some in rows.items():
        right = sum(not one.wrong for one in some)
        lines.append(f"| {kind} | {len(some)} | {answer} | {right} |")
    return "\n".join(lines)
