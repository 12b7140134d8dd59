"""How many trials of a search end in an hour, by the number of workers."""

import itertools
from collections.abc import Iterator

from segmentation.benchmark.charts import bars
from segmentation.benchmark.findings import BenchContext, SuiteResult
from segmentation.benchmark.pairing import Measurement
from segmentation.benchmark.programs import entry, place
from segmentation.tracking.summaries.benchmarks import trial_span

#: Trials that are alike but for their learning rate, so that searches can be compared.
SEARCH: dict[str, object] = {
    "data": "synthetic",
    "width": 16,
    "lr": "1e-3..4e-3",
    "trials": 8,
    "trial_epochs": 5,
    "confirm": 0,
    "pruner": "none",
}
#: There and back again, so that a machine that grows slower or faster favours neither.
ORDER = (1, 2, 2, 1)


def measure(bench: BenchContext) -> Iterator[SuiteResult]:
    """Run real searches with 1 and 2 workers in turns, in stores of their own; see `Suite`."""
    device = bench.compute.device.type
    rates: dict[int, list[float]] = {}
    whole: dict[int, list[float]] = {}
    for number, workers in enumerate(ORDER, 1):
        with place() as here:
            own: dict[str, object] = {
                "workers": workers,
                "study": f"benchmark-{number}",
                "device": device,
            }
            done = here.run(entry("tune", **SEARCH, **own))
            trials, seconds = trial_span(here.store)
        rates.setdefault(workers, []).append(3600 * trials / seconds)
        whole.setdefault(workers, []).append(done.seconds)
        bench.say(
            f"tuning: {workers} worker(s): {trials} trials in {seconds:.0f} s, the whole command "
            f"{done.seconds:.0f} s"
        )
        yield _findings(rates, whole, bench)


def _findings(
    rates: dict[int, list[float]], whole: dict[int, list[float]], bench: BenchContext
) -> SuiteResult:
    hourly = {workers: Measurement(tuple(found)) for workers, found in rates.items()}
    commands = {workers: Measurement(tuple(found)) for workers, found in whole.items()}
    metrics: dict[str, float] = {}
    for workers, rate in hourly.items():
        metrics |= rate.metrics(f"trials_per_hour/workers_{workers}")
        metrics |= commands[workers].metrics(f"command_seconds/workers_{workers}")
    lines = [
        f"{workers} worker(s): {rate.text(0)} trials an hour" for workers, rate in hourly.items()
    ]
    for one, two in itertools.pairwise(sorted(hourly)):
        if len(hourly[one].values) == len(hourly[two].values):
            ratio = hourly[two].over(hourly[one])
            metrics |= ratio.metrics(f"trials_per_hour_ratio/workers_{two}-workers_{one}")
            lines.append(f"{two} workers end {ratio.text(2)} times as many trials an hour as {one}")
    return SuiteResult(
        metrics=metrics,
        columns=("workers", "trials an hour", "seconds of the command"),
        rows=tuple(
            (str(workers), rate.text(0), commands[workers].text(0))
            for workers, rate in hourly.items()
        ),
        chart=lambda: bars(
            "Trials an hour",
            "trials an hour",
            {f"{workers} worker(s)": rate for workers, rate in hourly.items()},
        ),
        lines=tuple(lines),
        precision=bench.compute.precision,
    )
