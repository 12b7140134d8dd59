"""What a suite of measurements has found: figures, table, chart and description of its run."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from segmentation.tracking.runs.run import Run
from segmentation.utils.templates import row, rule

if TYPE_CHECKING:
    from segmentation.utils.figures import Figure

_HEADS = ("figure", "median", "lowest", "highest")


@dataclasses.dataclass
class SuiteSummary:
    """What is known so far; it is added to and logged again and again.

    Attributes:
        run: where to.
        suite: its name, which table and chart have too.
        metrics: figures by name.
        lines: the findings, a sentence each.
    """

    run: Run
    suite: str
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    lines: Sequence[str] = ()
    _logged: dict[str, float] = dataclasses.field(default_factory=dict)

    def add(self, name: str, rounds: NDArray[np.float64]) -> None:
        """Add the median under `name`, lowest and highest under that with `_low` and `_high`."""
        found = float(np.median(rounds)), float(rounds.min()), float(rounds.max())
        self.metrics |= zip((name, f"{name}_low", f"{name}_high"), found, strict=True)

    def log(self) -> None:
        """Log what is new, so that a suite that is interrupted keeps what it has measured."""
        new = dict(self.metrics.items() - self._logged.items())
        self._logged |= new
        self.run.log_metrics(new)
        table = [
            (name, *(f"{self.metrics[one]:.4g}" for one in _spread(name) if one in self.metrics))
            for name in self.metrics
            if not name.endswith(("_low", "_high"))
        ]
        lines = [",".join(cells) for cells in (_HEADS, *table)]
        self.run.log_text("\n".join(lines) + "\n", f"{self.suite}.csv")
        self.run.describe(findings(self.lines, [row(_HEADS), rule(len(_HEADS)), *map(row, table)]))

    def log_chart(self) -> None:
        """Log a chart of the figures that have a spread."""
        self.run.log_figure(self._chart, f"{self.suite}.png")

    def _chart(self) -> "Figure":
        """Draw them, a panel for each kind; that takes a second."""
        from segmentation.utils.figures import Figure

        names = sorted(name for name in self.metrics if f"{name}_low" in self.metrics)
        kinds = {kind: list(some) for kind, some in itertools.groupby(names, _kind)}
        figure = Figure(figsize=(10, 1 + sum(1 + 0.3 * len(some) for some in kinds.values())))
        ratios = [2 + len(some) for some in kinds.values()]
        panels = figure.subplots(len(kinds), squeeze=False, height_ratios=ratios).flat
        for axes, (kind, some) in zip(panels, kinds.items(), strict=True):
            middle, low, high = np.array([[self.metrics[o] for o in _spread(n)] for n in some]).T
            labels = [name.partition("/")[2] for name in some]
            axes.barh(labels, middle, xerr=[middle - low, high - middle])
            axes.set_title(kind)
        figure.set_layout_engine("tight")
        return figure


def findings(lines: Sequence[str], table: Sequence[str] = ()) -> str:
    """Return findings and a table in Markdown."""
    return "\n".join([*(f"- {line}" for line in lines), "", *table])


def _spread(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


def _kind(name: str) -> str:
    return name.partition("/")[0]
