"""One image with its mask, and what the masks of its data set mean."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labels:
    """How the masks of a data set are read, and what they show is called.

    Attributes:
        trimap: whether they are Oxford-IIIT Pet's trimaps, to which the other values do not apply.
        foreground: the values that are foreground; empty: of 0 and 1, or 0 and 255, the other one.
        ignored: the values that count nowhere.
        threshold: a value of at least this is foreground; 0: values are not compared so.
        empty: whether a mask may be without foreground.
        noun: what the foreground is called.
        things: what several images are called.
        kind: what `Example.kind` is: `breed`, `class` or `group`; empty where there is none.
    """

    trimap: bool = False
    foreground: tuple[int, ...] = ()
    ignored: tuple[int, ...] = ()
    threshold: int = 0
    empty: bool = False
    noun: str = "foreground"
    things: str = "images"
    kind: str = ""

    @property
    def kinds(self) -> str:
        """The plural of `kind`."""
        return self.kind and f"{self.kind}{'es' if self.kind == 'class' else 's'}"

    @property
    def key(self) -> str:
        """What decides how a mask's values are taken; empty for trimaps."""
        own = (self.foreground, self.ignored, self.threshold, self.empty)
        return "" if self.trimap else str(own)


OXFORD = Labels(trimap=True, noun="pet", things="pets", kind="breed")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """One image with its mask.

    Attributes:
        id: its name, unique in the data set.
        key: what decides by its hash whether it is in the gate split; the same for all examples
            that are never to be in two splits.
        kind: its breed, class or group; empty where there is none.
        species: `cat` or `dog` of Oxford-IIIT Pet, else empty.
        labels: of its data set.
    """

    id: str
    key: str
    image: Path
    mask: Path
    kind: str = ""
    species: str = ""
    labels: Labels = OXFORD
