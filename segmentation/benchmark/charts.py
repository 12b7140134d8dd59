"""The charts of the suites, one kind each for lines, bars and shares of a whole."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from segmentation.benchmark.pairing import Measurement

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Points (x, lowest, median, highest) of a line, by its name.
Lines = Mapping[str, Sequence[tuple[float, float, float, float]]]

_MARKERS = "osv^D*PX"


def point(x: float, repeated: Measurement) -> tuple[float, float, float, float]:
    """Return a point of a line with its spread."""
    return x, repeated.low, repeated.median, repeated.high


def lines(
    panels: Mapping[str, Lines],
    x: str,
    y: Mapping[str, str],
    *,
    logarithmic: Collection[str] = (),
    doubling: bool = False,
) -> "Figure":
    """Draw panels, two in a row, with the spread as bars.

    Args:
        panels: the lines of each, by title.
        x: label of every horizontal axis.
        y: label of the vertical axis, by title.
        logarithmic: titles of the panels whose vertical axis is.
        doubling: whether the horizontal axes are, to the base of 2.
    """
    figure, rows = _figure(len(panels))
    for position, (axes, (title, named)) in enumerate(zip(rows, panels.items(), strict=True)):
        for number, (name, points) in enumerate(named.items()):
            middle = [p[2] for p in points]
            below = [p[2] - p[1] for p in points]
            above = [p[3] - p[2] for p in points]
            marker = _MARKERS[number % len(_MARKERS)]
            axes.errorbar(
                [p[0] for p in points],
                middle,
                yerr=[below, above],
                label=name,
                marker=marker,
                capsize=3,
            )
        ticks = sorted({p[0] for points in named.values() for p in points})
        if doubling:
            axes.set_xscale("log", base=2)
        if title in logarithmic:
            axes.set_yscale("log")
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.xaxis.minorticks_off()
        axes.set_title(title)
        axes.set_xlabel(x)
        axes.set_ylabel(y[title])
        axes.grid(alpha=0.3)
        if position == 0:
            axes.legend(fontsize=8)
    return figure


def bars(title: str, y: str, named: Mapping[str, Measurement]) -> "Figure":
    """Draw a bar for each figure, at its median, with the spread."""
    figure, (axes,) = _figure(1)
    middle = [one.median for one in named.values()]
    spread = [
        [one.median - one.low for one in named.values()],
        [one.high - one.median for one in named.values()],
    ]
    drawn = axes.bar(list(named), middle, yerr=spread, capsize=4, color="#56B4E9")
    axes.bar_label(drawn, fmt="%.4g", padding=3)
    axes.set_title(title)
    axes.set_ylabel(y)
    return figure


def shares(title: str, parts: Mapping[str, Mapping[str, float]]) -> "Figure":
    """Draw what wholes are made of.

    Args:
        title: of the chart.
        parts: by name of the whole the shares of its parts, all the same parts; a share is in
            [0, 1], and one that measuring error has put below 0 is drawn as 0.
    """
    figure, (axes,) = _figure(1)
    wholes = list(parts)
    left = [0.0] * len(wholes)
    for name in next(iter(parts.values())):
        widths = [max(0.0, parts[whole][name]) for whole in wholes]
        axes.barh(wholes, widths, left=left, label=name)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.set_title(title)
    axes.set_xlabel("share of the time")
    axes.legend(fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    return figure


def _figure(panels: int) -> tuple["Figure", list["Axes"]]:
    # Without pyplot there is no global state, no window and nothing to close.
    from matplotlib.figure import Figure

    rows, columns = -(-panels // 2), min(panels, 2)
    figure = Figure(figsize=(6.5 * max(columns, 1.4), 5 * rows), layout="tight")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)
