"""One image with its mask, and what the masks of its data set mean."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labels:
    """How the masks of a data set are read, and what they show is called."""

    trimap: bool = False  # Oxford-IIIT Pet's: 1, 2 and 3; the next four say nothing then
    foreground: tuple[int, ...] = ()  # values; none: of 0 and 1, or of 0 and 255, the other one
    ignored: tuple[int, ...] = ()  # values that count nowhere
    threshold: int = 0  # a value of at least this is foreground; 0: values are not compared
    empty: bool = False  # whether a mask may be without foreground
    noun: str = "foreground"
    things: str = "images"
    kind: str = ""  # what `Example.kind` is: `breed`, `class` or `group`; empty: there is none

    @property
    def kinds(self) -> str:
        return self.kind and f"{self.kind}{'es' if self.kind == 'class' else 's'}"

    @property
    def key(self) -> str:
        """What decides how a mask's values are taken; empty for trimaps."""
        own = (self.foreground, self.ignored, self.threshold, self.empty)
        return "" if self.trimap else str(own)


OXFORD = Labels(trimap=True, noun="pet", things="pets", kind="breed")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """One image with its mask."""

    id: str  # unique in the data set
    key: str  # whose hash chooses the split; what has the same is never in two splits
    image: Path
    mask: Path
    kind: str = ""  # breed, class or group
    species: str = ""  # `cat` or `dog`, of Oxford-IIIT Pet alone
    labels: Labels = OXFORD
