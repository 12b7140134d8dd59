"""What a benchmark measures, besides the settings of the trainings that it is made of."""

import dataclasses
import itertools
from typing import Literal

from segmentation.config.fields import MOST, Text, setting, settings
from segmentation.config.training import Config
from segmentation.errors import ConfigError

SUITES = ("step", "loop")
#: Widths where none are given, by suite.
_WIDTHS = {"step": (8, 16, 32, 64), "loop": (16, 32, 64)}


@settings
class BenchmarkConfig:
    """The parameters that a benchmark has besides data and device; valid once it exists."""

    suite: Literal["all", "step", "loop"] = setting("all", "Suites to run: one, or all.")
    widths: Text = setting(
        "auto", "Widths of the network; auto: 8,16,32,64 of `step`, 16,32,64 of `loop`."
    )
    sizes: Text = setting("96,128,192,256", "step: heights and widths of the images, in pixels.")
    repeats: int = setting(
        5, "Measurements of each figure, of which the median counts.", ge=2, le=MOST
    )

    def __post_init__(self) -> None:
        _ = self.widths_of("step"), self.size_list

    @property
    def suites(self) -> tuple[str, ...]:
        """The suites asked for."""
        return SUITES if self.suite == "all" else (self.suite,)

    @property
    def size_list(self) -> tuple[int, ...]:
        """Sides of the images of suite `step`, in pixels, rising."""
        return _numbers("sizes", self.sizes)

    def widths_of(self, suite: str) -> tuple[int, ...]:
        """Return the widths for a suite."""
        return _WIDTHS[suite] if self.widths == "auto" else _numbers("widths", self.widths)

    def check(self, config: Config) -> None:
        """Raise a ConfigError where a network cannot work at a size that is asked for."""
        sizes = {"step": self.size_list, "loop": (config.data.image_size,)}
        for suite in self.suites:
            for width, size in itertools.product(self.widths_of(suite), sizes[suite]):
                data = dataclasses.replace(config.data, image_size=size)
                Config(data=data, model=dataclasses.replace(config.model, width=width))


def _numbers(name: str, text: str) -> tuple[int, ...]:
    """Read whole numbers of at least 1, separated by commas; return them rising, each once."""
    try:
        found = sorted({int(word) for word in text.split(",")})
    except ValueError:
        found = [0]
    if found[0] < 1:
        raise ConfigError(
            f"{name}={text}: expected whole numbers of at least 1, separated by commas"
        )
    return tuple(found)
