"""What `shrink` is asked for, besides whether it is to delete anything at all."""

import dataclasses

from segmentation.config.durations import seconds_of
from segmentation.config.training import Count, problems, setting
from segmentation.errors import ConfigError

_DAY = 86400.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShrinkConfig:
    """What may go; valid once it exists."""

    delete: bool = setting(False, "Delete what can go; otherwise it is only said.")
    versions: Count = setting(
        10,
        "Newest versions of each registered model that stay, besides those with an alias; or "
        "'all'.",
        low=1,
    )
    checkpoints: bool = setting(
        True, "Whether checkpoints of trainings that ended well, or were deleted, can go."
    )
    caches: bool = setting(
        True, "Whether decoded images can go, which are decoded again where they are needed."
    )
    older: str = setting(
        "30d",
        "After so long what unfinished or failed trainings have left can go as well; at least 1d.",
    )

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ConfigError: names every impossible value at once.
        """
        found = problems(self)
        # A training that runs writes far more often than once a day.
        if (seconds_of(self.older) or 0) < _DAY:
            found.append(f"older={self.older}: expected a time of at least a day, such as 30d")
        if found:
            raise ConfigError("; ".join(found))

    @property
    def seconds(self) -> float:
        """The time `older` in seconds."""
        return seconds_of(self.older) or 0.0
