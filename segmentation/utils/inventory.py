"""What is kept, kind by kind, and what of it can go: counted, shown, taken away."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from segmentation.utils.markdown import row, rule

_HEAD = ("", "there", "MiB", "can go", "MiB")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Item:
    """One thing that is kept.

    Attributes:
        name: for people.
        size: in bytes.
        remove: takes it away, and tells whether it did; None where it stays.
    """

    name: str
    size: int
    remove: Callable[[], bool] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Category:
    """Things of one kind.

    Attributes:
        name: what they are.
        things: all of them.
        note: why some stay, or what takes them away.
    """

    name: str
    things: Sequence[Item]
    note: str

    @property
    def spare(self) -> list[Item]:
        """Those that can go."""
        return [thing for thing in self.things if thing.remove is not None]


def mib(things: Iterable[Item]) -> float:
    """Return how much some things take, in MiB."""
    return sum(thing.size for thing in things) / 2**20


def table(kinds: Sequence[Category]) -> list[str]:
    """Return the kinds of which there is something as the lines of a table."""
    rows = [(*_cells(kind), kind.note) for kind in kinds if kind.things]
    if not rows:
        return []
    first = max(len(cells[0]) for cells in rows)
    return [
        f"{cells[0]:<{first}}  {cells[1]:>6} {cells[2]:>9}  {cells[3]:>6} {cells[4]:>9}"
        f"{'  ' if cells[5] else ''}{cells[5]}"
        for cells in ((*_HEAD, ""), *rows)
    ]


def markdown(kinds: Sequence[Category]) -> str:
    """Return the same in Markdown."""
    lines = [row((*_HEAD, "")), rule(6)]
    lines += [row((*_cells(kind), kind.note)) for kind in kinds if kind.things]
    return "\n".join(lines) + "\n"


def free(
    kinds: Sequence[Category], gone: dict[str, list[Item]], progress: Callable[[int, int], None]
) -> None:
    """Take away what can go; what somebody has begun to use since it was counted stays.

    Args:
        kinds: as they were counted.
        gone: what went is put in there at once, by kind, so that it is known however this ends.
        progress: told how many of how many things were dealt with.
    """
    total, done = sum(len(kind.spare) for kind in kinds), 0
    for kind in kinds:
        for thing in kind.spare:
            if thing.remove is not None and thing.remove():
                gone.setdefault(kind.name, []).append(thing)
            done += 1
            progress(done, total)


def _cells(kind: Category) -> tuple[str, str, str, str, str]:
    spare = kind.spare
    numbers = (f"{len(kind.things)}", f"{mib(kind.things):.1f}")
    return (kind.name, *numbers, f"{len(spare)}", f"{mib(spare):.1f}")
