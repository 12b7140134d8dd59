"""One process with all threads against several with their part of them, and what limits these."""

import json
import os
import statistics
import sys
from collections.abc import Iterator

from segmentation.benchmark.charts import lines, point
from segmentation.benchmark.findings import BenchContext, SuiteResult
from segmentation.benchmark.pairing import Measurement, interleaved
from segmentation.benchmark.programs import Place, place

_MODULE = "segmentation.benchmark.scale_out_job"
#: Epochs times width: wide networks take long, and need fewer to be measured as well.
_WORK = 320
_TITLE = "images a second over those of one process"


def measure(bench: BenchContext) -> Iterator[SuiteResult]:
    """Train each width by one process and by several, in turns; see `Suite`."""
    processes = max(2, os.cpu_count() or 1)
    found: dict[int, dict[str, Measurement]] = {}
    with place() as here:
        for width in bench.asked.own.widths_of("scale-out"):
            sides = {
                "one": lambda width=width: _rate(here, bench, width, 1, processes, "together"),
                "together": lambda width=width: _rate(here, bench, width, processes, 1, "together"),
                "apart": lambda width=width: _rate(here, bench, width, processes, 1, "apart"),
            }
            # The first round decodes; later ones find everything in this machine's caches.
            found[width] = interleaved(sides, bench.asked.own.repeats)
            bench.say(f"scale-out: {_said(width, found[width], processes)}")
            yield _findings(found, processes, bench)


def _rate(
    here: Place, bench: BenchContext, width: int, processes: int, threads: int, how: str
) -> float:
    """Return the images a second of so many processes, all together."""
    data, size = bench.asked.config.data, bench.asked.config.data.image_size
    epochs = max(2, round(_WORK / width))
    words = [bench.source.root, data.train_images, size, width, epochs, how]
    command = [sys.executable, "-m", _MODULE, *map(str, words)]
    if processes > 1:
        torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        command = [sys.executable, "-m", *torchrun, *command[1:]]
    done = here.run(command, OMP_NUM_THREADS=str(threads), PETSEG_CACHE=str(here.folder / "cache"))
    told = [json.loads(line)["rates"] for line in done.out.splitlines() if line.startswith("{")]
    return float(sum(statistics.median(rates) for rates in told))


def _said(width: int, rates: dict[str, Measurement], processes: int) -> str:
    """Say what was found at one width."""
    together, apart = (rates[how].over(rates["one"]) for how in ("together", "apart"))
    return (
        f"Width {width}: {processes} processes of one thread give {together.median:.2f} times "
        f"({together.low:.2f} to {together.high:.2f}) the {rates['one'].median:.1f} images/s of "
        f"one process with as many threads; {apart.median:.2f} times if they need not wait for "
        "each other: the difference is what normalisation and gradients over all of them take"
    )


def _findings(
    found: dict[int, dict[str, Measurement]], processes: int, bench: BenchContext
) -> SuiteResult:
    metrics: dict[str, float] = {"processes": processes}
    ratios = {
        how: {width: rates[how].over(rates["one"]) for width, rates in found.items()}
        for how in ("together", "apart")
    }
    for width, rates in found.items():
        metrics |= rates["one"].metrics(f"images_per_second/width_{width}_one_process")
        metrics |= rates["together"].metrics(f"images_per_second/width_{width}_together")
        for how, ratio in ratios.items():
            metrics |= ratio[width].metrics(f"{how}_over_one_process/width_{width}")
    shown = {
        _TITLE: {
            how: [point(width, one) for width, one in ratio.items()]
            for how, ratio in ratios.items()
        }
    }
    return SuiteResult(
        metrics=metrics,
        columns=("width", "one process, images/s", "together", "apart"),
        rows=tuple(
            (
                str(width),
                rates["one"].text(1),
                ratios["together"][width].text(2),
                ratios["apart"][width].text(2),
            )
            for width, rates in found.items()
        ),
        chart=lambda: lines(shown, "width", {_TITLE: "ratio"}, doubling=True),
        lines=tuple(_said(width, rates, processes) for width, rates in found.items()),
        precision=bench.compute.precision,
    )
