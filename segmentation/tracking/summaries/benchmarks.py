"""What a suite of measurements has found: figures, table and description of its run."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segmentation.tracking.runs.run import Run
from segmentation.utils.templates import row, rule

_HEADS = ("figure", "median", "lowest", "highest")


@dataclasses.dataclass
class SuiteSummary:
    """What is known so far; it is added to and logged again and again."""

    run: Run
    suite: str
    #: By name: one, or median, lowest and highest.
    figures: dict[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    #: The findings, a sentence each.
    lines: Sequence[str] = ()

    def add(self, name: str, rounds: NDArray[np.float64]) -> None:
        """Add the median under `name`, lowest and highest under that with `_low` and `_high`."""
        self.figures[name] = float(np.median(rounds)), float(rounds.min()), float(rounds.max())

    def log(self) -> None:
        """Log all of it, so that a suite that is interrupted keeps what it has measured."""
        metrics: dict[str, float] = {}
        for name, values in self.figures.items():
            metrics |= zip((name, f"{name}_low", f"{name}_high"), values, strict=False)
        self.run.log_metrics(metrics)
        table = [(name, *map("{:.4g}".format, values)) for name, values in self.figures.items()]
        lines = [",".join(cells) for cells in (_HEADS, *table)]
        self.run.log_text("\n".join(lines) + "\n", f"{self.suite}.csv")
        self.run.describe(findings(self.lines, [row(_HEADS), rule(len(_HEADS)), *map(row, table)]))


def findings(lines: Sequence[str], table: Sequence[str] = ()) -> str:
    return "\n".join([*(f"- {line}" for line in lines), "", *table])
