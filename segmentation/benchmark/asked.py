"""What a benchmark is asked to measure: read and checked before anything slow is imported."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from segmentation.benchmark.peer_table import Peer, choose
from segmentation.config.fields import Count, Text, setting, settings
from segmentation.config.training import Config, ModelConfig
from segmentation.errors import ConfigError

#: Those that `all` stands for, which take 20 minutes, and all that there are.
USUAL = ("step", "loop", "peers", "scale", "tuning", "start")
SUITES = (*USUAL, "scale-out")

#: Widths where none are given, by suite.
WIDTHS = {"step": (8, 16, 32, 64), "loop": (16, 32, 64), "scale-out": (8, 16, 32)}


@settings
class BenchmarkConfig:
    """The parameters that a benchmark has besides data and device; valid once it exists."""

    suite: Text = setting(
        "all",
        f"Suites to run, separated by commas: all ({', '.join(USUAL)}), or some of these and "
        "scale-out.",
    )
    widths: Text = setting(
        "auto",
        "step, loop, scale-out: widths of the U-Net; auto: 8,16,32,64, of `loop` 16,32,64, of "
        "`scale-out` 8,16,32.",
    )
    sizes: Text = setting("96,128,192,256", "step: heights and widths of the images, in pixels.")
    repeats: int = setting(
        5,
        "step, loop, start, scale-out: measurements of each figure, of which the median counts.",
        ge=2,
    )
    seconds: Text = setting("30", "peers: seconds of training, each for every peer and seed.")
    our_seconds: Text = setting(
        "auto", "peers: seconds of training of ours, where they are to be others; auto: `seconds`."
    )
    seeds: int = setting(1, "peers: trainings of each; the seeds are 0, 1, and so on.", ge=1)
    peers: Text = setting(
        "auto", "peers: which ones, separated by commas; auto: all whose packages are installed."
    )
    peer_lrs: Text = setting(
        "auto",
        "peers: learning rates, separated by commas, at each of which every peer is trained, and "
        "judged by gate images, to find its best; auto: the one it has, judged by unseen images.",
    )
    judged: Count = setting(
        1000, "peers: images, never trained on, by which all are judged; or 'all'."
    )
    images: Text = setting("100,1000,4000", "scale: numbers of drawn images to train on.")

    def __post_init__(self) -> None:
        _ = self.suites, self.widths_of("step"), self.size_list, self.count_list
        _ = self.second_list, self.our_second_list, self.peer_lr_list

    @property
    def suites(self) -> tuple[str, ...]:
        """The suites asked for, in the order of `SUITES`."""
        if self.suite == "all":
            return USUAL
        names = [name.strip() for name in self.suite.split(",")]
        if not set(names) <= set(SUITES):
            raise ConfigError(f"suite={self.suite}: expected all or some of {', '.join(SUITES)}")
        return tuple(suite for suite in SUITES if suite in names)

    @property
    def size_list(self) -> tuple[int, ...]:
        """Sides of the images of suite `step`, in pixels, rising."""
        return _numbers("sizes", self.sizes)

    @property
    def count_list(self) -> tuple[int, ...]:
        """Numbers of images of suite `scale`, rising."""
        return _numbers("images", self.images)

    @property
    def second_list(self) -> tuple[int, ...]:
        """Seconds of training of suite `peers`, rising."""
        return _numbers("seconds", self.seconds)

    @property
    def our_second_list(self) -> tuple[int, ...]:
        """Seconds of training of ours in suite `peers`, rising."""
        if self.our_seconds == "auto":
            return self.second_list
        return _numbers("our_seconds", self.our_seconds)

    @property
    def peer_lr_list(self) -> tuple[float, ...]:
        """Learning rates at which peers are tried, rising; none where each has its own."""
        return () if self.peer_lrs == "auto" else _rates("peer_lrs", self.peer_lrs)

    def widths_of(self, suite: str) -> tuple[int, ...]:
        """Return the widths for a suite that has them."""
        return WIDTHS[suite] if self.widths == "auto" else _numbers("widths", self.widths)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkRequest:
    """Everything that decides what is measured; valid once it exists.

    Attributes:
        own: the benchmark's own parameters.
        config: a training's, at its defaults but for data and device.
        peers: whom suite `peers` trains; empty where it does not run.
    """

    own: BenchmarkConfig
    config: Config
    peers: tuple[Peer, ...]

    @classmethod
    def of(cls, own: BenchmarkConfig, options: Mapping[str, Any]) -> "BenchmarkRequest":
        """Put it together.

        Args:
            own: the benchmark's parameters.
            options: parameters of a training, by name.

        Raises:
            ConfigError: something cannot be measured; says what.
        """
        config = Config.from_options(options)
        peers: tuple[Peer, ...] = ()
        if "peers" in own.suites:
            peers = choose(own.peers, config.data.image_size)
            if rates := own.peer_lr_list:
                peers = tuple(peer.at(rate) for peer in peers for rate in rates)
        if "step" in own.suites:
            for width in own.widths_of("step"):
                for size in own.size_list:  # raises where the network cannot work at that size
                    data = dataclasses.replace(config.data, image_size=size)
                    Config(data=data, model=ModelConfig(width=width))
        return cls(own=own, config=config, peers=peers)

    def flat(self) -> dict[str, Any]:
        """Return the benchmark's parameters under dotted names, such as `benchmark.seconds`."""
        return {f"benchmark.{name}": value for name, value in dataclasses.asdict(self.own).items()}


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


def _rates(name: str, text: str) -> tuple[float, ...]:
    """Read learning rates, separated by commas; return them rising, each once."""
    try:
        found = sorted({float(word) for word in text.split(",")})
    except ValueError:
        found = [math.nan]
    if not all(0 < rate < 10 for rate in found):
        raise ConfigError(f"{name}={text}: expected auto, or numbers above 0, separated by commas")
    return tuple(found)
