"""What `shrink` is asked for, besides whether it is to delete anything at all."""

from segmentation.config.fields import Count, Text, seconds_of, setting, settings
from segmentation.errors import ConfigError

_DAY = 86400.0


@settings
class ShrinkConfig:
    """What may go; valid once it exists."""

    delete: bool = setting(False, "Delete what can go; otherwise it is only said.")
    versions: Count = setting(
        10,
        "Newest versions of each registered model that stay, besides those with an alias; or "
        "'all'.",
    )
    checkpoints: bool = setting(
        True, "Whether checkpoints of trainings that have ended can go, here and in the store."
    )
    caches: bool = setting(
        True, "Whether decoded images can go, which are decoded again where they are needed."
    )
    older: Text = setting(
        "30d",
        "What is younger than this stays, whatever it is; at least 1d.",
    )

    def __post_init__(self) -> None:
        # A training that runs writes far more often than once a day.
        if (seconds_of(self.older) or 0) < _DAY:
            raise ConfigError(f"older={self.older}: expected a time of at least a day, such as 30d")

    @property
    def seconds(self) -> float:
        """The time `older` in seconds."""
        return seconds_of(self.older) or 0.0
