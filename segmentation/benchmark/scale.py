"""Whether an epoch's time grows with the number of images alone, and memory not at all."""

import dataclasses
import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

from segmentation.benchmark.charts import lines, point
from segmentation.benchmark.findings import BenchContext, SuiteResult
from segmentation.benchmark.many import many_pets
from segmentation.benchmark.pairing import Measurement
from segmentation.benchmark.programs import Place, place

#: Of the images, in pixels, and of the network; narrow, since it is the data that grows.
_SIZE, _WIDTH = 256, 8
_FEW = 1000  # so many images are trained on in all, at least
_PANELS = ("seconds an epoch", "peak memory, MiB")


def measure(bench: BenchContext) -> Iterator[SuiteResult]:
    """Train on each number of images in a process of its own, up and down again; see `Suite`."""
    counts = bench.asked.own.count_list

    def drawn(done: int, total: int) -> None:
        if done % 500 == 0 or done == total:
            bench.say(f"scale: {done} of {total} pictures drawn")

    folder = many_pets(counts[-1], drawn)
    told: dict[int, list[_Told]] = {}
    # Up and down, so that a machine that grows slower or faster does not bend the line.
    with place() as here:
        for count in (*counts, *reversed(counts[:-1])):
            last = _train(here, folder, count, bench)
            told.setdefault(count, []).append(last)
            bench.say(
                f"scale: {count} images: {last.epoch:.1f} s an epoch, peak memory "
                f"{last.peak:.0f} MiB ({last.anonymous:.0f} not backed by files), read in "
                f"{last.loading:.1f} s"
            )
            yield _findings(told, bench)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Told:
    """What one process told.

    Attributes:
        seconds: of each epoch.
        loading: seconds of reading.
        peak: memory, in MiB.
        anonymous: of that what no file backs.
    """

    seconds: list[float]
    loading: float
    peak: float
    anonymous: float

    @property
    def epoch(self) -> float:
        """Seconds an epoch."""
        return statistics.median(self.seconds)


def _train(here: Place, folder: Path, count: int, bench: BenchContext) -> _Told:
    epochs = max(1, min(5, _FEW // count))
    words = (folder, count, _SIZE, _WIDTH, epochs, bench.compute.device.type)
    module = "segmentation.benchmark.scale_job"
    # What is decoded is large, and nobody's to keep.
    cache = str(here.folder / "cache")
    done = here.run([sys.executable, "-m", module, *map(str, words)], PETSEG_CACHE=cache)
    return _Told(**json.loads(done.out.splitlines()[-1]))


def _findings(told: dict[int, list[_Told]], bench: BenchContext) -> SuiteResult:
    counts = sorted(told)
    times = {n: Measurement(tuple(one.epoch for one in told[n])) for n in counts}
    peaks = {n: Measurement(tuple(one.peak for one in told[n])) for n in counts}
    own = {n: Measurement(tuple(one.anonymous for one in told[n])) for n in counts}
    metrics: dict[str, float] = {}
    for count in times:
        metrics |= times[count].metrics(f"epoch_seconds/images_{count}")
        metrics |= peaks[count].metrics(f"peak_mib/images_{count}")
        metrics |= own[count].metrics(f"peak_anonymous_mib/images_{count}")
    said = []
    first, last = min(times), max(times)
    if first < last:
        each = (times[last].median / last) / (times[first].median / first)
        more = peaks[last].median - peaks[first].median
        metrics |= {"seconds_per_image_ratio": each, "peak_mib_more": more}
        said = [
            f"An image takes {each:.2f} times as long in an epoch of {last} as in one of {first}",
            f"Peak memory is {peaks[first].median:.0f} MiB with {first} images and "
            f"{peaks[last].median:.0f} MiB with {last}; not backed by files "
            f"{own[first].median:.0f} and {own[last].median:.0f} MiB",
        ]
    shown = {
        _PANELS[0]: {"epoch": [point(count, one) for count, one in times.items()]},
        _PANELS[1]: {
            "all": [point(count, one) for count, one in peaks.items()],
            "not backed by files": [point(count, one) for count, one in own.items()],
        },
    }
    return SuiteResult(
        metrics=metrics,
        columns=("images", "seconds an epoch", "peak MiB", "of that not backed by files"),
        rows=tuple(
            (str(count), times[count].text(2), peaks[count].text(0), own[count].text(0))
            for count in times
        ),
        chart=lambda: lines(
            shown,
            f"images of {_SIZE} x {_SIZE} pixels",
            {name: name for name in _PANELS},
            logarithmic=_PANELS[:1],
            doubling=True,
        ),
        lines=tuple(said),
        precision=bench.compute.precision,
    )
