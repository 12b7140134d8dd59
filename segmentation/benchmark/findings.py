"""What a suite gives: figures, a table, a chart, and the findings in words."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from segmentation.benchmark.asked import BenchmarkRequest
from segmentation.data.sources import Source
from segmentation.runtime.device import Compute
from segmentation.tracking.runs.lifecycle import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Told one line at a time.
Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SuiteResult:
    """What is known so far.

    Attributes:
        metrics: figures by name.
        columns: heads of the table.
        rows: its cells.
        chart: draws it.
        lines: the main findings in words, a sentence each.
        precision: the arithmetic that was measured, such as `fp32, bf16`.
    """

    metrics: Mapping[str, float]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    chart: Callable[[], "Figure"]
    lines: tuple[str, ...]
    precision: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchContext:
    """What a suite works with.

    Attributes:
        asked: what to measure.
        compute: the device and its default arithmetic.
        source: the data set.
        run: the suite's MLflow run, under which trainings may nest theirs.
        say: told what has been measured, a line at a time.
    """

    asked: BenchmarkRequest
    compute: Compute
    source: Source
    run: Run
    say: Say


#: Yields what is known after each measurement, the last time everything: what is interrupted keeps
#: what it had.
Suite = Callable[[BenchContext], Iterator[SuiteResult]]
