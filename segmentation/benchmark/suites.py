"""A whole benchmark: its suites one after the other, each as a run."""

import contextlib
import dataclasses
from collections.abc import Iterator

from segmentation.benchmark import loop, peers, scale, scale_out, start, step, tuning
from segmentation.benchmark.asked import BenchmarkRequest
from segmentation.benchmark.findings import BenchContext, Say, Suite, SuiteResult
from segmentation.benchmark.machine import Machine
from segmentation.data.sources import Source
from segmentation.runtime.device import Compute
from segmentation.tracking.runs.lifecycle import Run, tracked_run
from segmentation.tracking.summaries import benchmarks

_SUITES: dict[str, Suite] = {
    "step": step.measure,
    "loop": loop.measure,
    "peers": peers.measure,
    "scale": scale.measure,
    "tuning": tuning.measure,
    "start": start.measure,
    "scale-out": scale_out.measure,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """A finished benchmark.

    Attributes:
        run_id: MLflow's; of several suites the run that theirs are nested in.
        lines: the findings, a sentence each.
    """

    run_id: str
    lines: tuple[str, ...]


def run(
    asked: BenchmarkRequest, compute: Compute, source: Source, machine: Machine, say: Say
) -> Outcome:
    """Run the suites that were asked for; what each has measured is in its run at once.

    Args:
        asked: what to measure.
        compute: the device and its default arithmetic.
        source: the data set.
        machine: what computes.
        say: told of each measurement.

    Raises:
        PetsegError: something cannot be measured; earlier suites keep their runs.
    """
    suites = asked.own.suites
    single = suites[0] if len(suites) == 1 else ""
    tags = {**machine.tags(), "precision": compute.precision, "data.source": source.name}
    name = f"benchmark {single}" if single else "benchmark"
    found: list[str] = []
    with tracked_run(name, tags, system_metrics=False) as parent:
        benchmarks.log_settings(asked.flat() | asked.config.flat())
        for suite in suites:
            with _run_of(suite, tags, parent, alone=bool(single)) as own:
                bench = BenchContext(asked=asked, compute=compute, source=source, run=own, say=say)
                findings = _log_all(suite, bench)
            found += [f"{suite}: {line}" for line in findings.lines]
            if not single:
                benchmarks.describe(found)
    return Outcome(run_id=parent.id, lines=tuple(found))


@contextlib.contextmanager
def _run_of(suite: str, tags: dict[str, str], parent: Run, *, alone: bool) -> Iterator[Run]:
    """Yield the run of a suite: a nested one, or of a suite alone the run itself."""
    if alone:
        yield parent
        return
    name = f"benchmark {suite}"
    with tracked_run(name, tags, parent, system_metrics=False) as own:
        yield own


def _log_all(suite: str, bench: BenchContext) -> SuiteResult:
    """Measure, and log what is known after each measurement; return all of it."""
    logged: dict[str, float] = {}
    findings: SuiteResult | None = None
    try:
        for findings in _SUITES[suite](bench):
            new = {n: value for n, value in findings.metrics.items() if logged.get(n) != value}
            logged |= new
            table = findings.columns, findings.rows
            benchmarks.log_findings(suite, new, table, findings.lines, findings.precision)
    finally:  # one chart, which takes a second, also of what was interrupted
        if findings is not None:
            benchmarks.log_chart(suite, findings.chart())
    if findings is None:
        raise ValueError(f"suite {suite} measured nothing")
    return findings
