"""The plots of an analysis. Each says in its title on how many images it rests."""

import io
from typing import Any

import numpy as np
from matplotlib.axes import Axes

# Without pyplot there is no global state, no window and nothing to close.
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from segmentation.evaluation.analysis import Analysis, Slice
from segmentation.evaluation.report.report import counted, split_images
from segmentation.evaluation.scoring import THRESHOLD

# Okabe and Ito's colors, as in `pictures`.
_BLUE, _ORANGE, _RED, _GRAY = "#0072b2", "#e69f00", "#d55e00", "#767676"
_BY_SPECIES = {"cat": (_ORANGE, "o"), "dog": (_BLUE, "s")}
#: More rows would be taller than what a picture may be.
_MOST_BREEDS = 60
_LONGEST_NAME = 32
# By hand, here and below: an automatic layout draws everything twice.
_LAYOUT = {"left": 0.09, "right": 0.97, "bottom": 0.26, "top": 0.92}


def plot_all(analysis: Analysis) -> dict[str, Figure]:
    """Draw all plots, by the names of their files."""
    return {
        "threshold.png": plot_thresholds(analysis),
        "calibration.png": plot_calibration(analysis),
        "scores.png": plot_scores(analysis),
        "slices.png": plot_slices(analysis),
    }


def png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return stream.getvalue()


def plot_thresholds(analysis: Analysis) -> Figure:
    """Draw mean Dice over thresholds."""
    figure = Figure(figsize=(8, 4.8))
    axes = figure.subplots(gridspec_kw=_LAYOUT)
    curve, best = analysis.curve, analysis.best_threshold
    baseline = analysis.evaluation.counts.all_pet().mean().dice
    axes.plot(list(curve), list(curve.values()), color=_BLUE, marker="o", markersize=4)
    label = f"{THRESHOLD:g}, which is used: Dice {curve[THRESHOLD]:.3f}"
    axes.axvline(THRESHOLD, color=_GRAY, linestyle=":", label=label)
    if best != THRESHOLD:
        label = f"{best:g}, the highest on these images: Dice {curve[best]:.3f}"
        axes.plot(best, curve[best], color=_RED, marker="D", linestyle="none", label=label)
    label = f"'pet' everywhere: Dice {baseline:.3f}"
    axes.axhline(baseline, color="black", linestyle="--", label=label)
    _from_0_to_1(axes)
    axes.set_ylim(np.floor(10 * min(baseline, *curve.values())) / 10 - 0.02, 1)
    axes.set_xlabel("threshold: above it a pixel is called pet")
    axes.set_ylabel("mean Dice")
    axes.set_title(f"Dice by threshold, mean over {split_images(analysis)}")
    axes.grid(alpha=0.3)
    _legend_below(axes)
    return figure


def plot_calibration(analysis: Analysis) -> Figure:
    """Draw the share of pet over the probability of pet, and how many pixels there are to it."""
    bins = analysis.bins
    pixels = sum(one.pixels for one in bins)
    figure = Figure(figsize=(6.5, 6.5))
    layout: dict[str, Any] = {
        "left": 0.12,
        "right": 0.96,
        "bottom": 0.08,
        "top": 0.89,
        "hspace": 0.08,
    }
    above, below = figure.subplots(
        2, 1, sharex=True, gridspec_kw={**layout, "height_ratios": (3, 1)}
    )
    above.plot([0, 1], [0, 1], color=_GRAY, linestyle="--", label="perfectly calibrated")
    points = [one.probability for one in bins], [one.share for one in bins]
    above.plot(*points, color=_BLUE, marker="o", label="this model")
    above.set_ylim(-0.02, 1.02)
    above.set_ylabel("share of the pixels that are pet")
    above.legend(loc="upper left")
    shares = [one.pixels / pixels for one in bins]
    middles = [one.low + 0.05 for one in bins]
    below.bar(middles, shares, width=0.09, color=_BLUE)
    for x, share in zip(middles, shares, strict=True):
        text = f"{share * 100:.0f} %" if share >= 0.01 else "< 1 %"
        below.text(x, share + 0.02, text, ha="center", va="bottom", fontsize=8)
    below.set_ylim(0, max(shares) * 1.25 + 0.05)
    _from_0_to_1(below)
    below.set_ylabel("share of all pixels")
    below.set_xlabel("probability of pet, in ten bins")
    for axes in (above, below):
        axes.grid(alpha=0.3)
    above.set_title(
        f"Expected calibration error {analysis.calibration_error:.3f}\n"
        f"over the {pixels:,} pixels of {split_images(analysis)}"
    )
    return figure


def plot_scores(analysis: Analysis) -> Figure:
    """Draw how the Dice of single images is distributed, and that of the trivial baseline."""
    counts = analysis.evaluation.counts
    dice, baseline = counts.dice(), counts.all_pet().dice()
    low, high = analysis.evaluation.interval
    edges = np.linspace(0, 1, 21).tolist()
    figure = Figure(figsize=(8, 4.8))
    axes = figure.subplots(gridspec_kw=_LAYOUT)
    axes.hist(dice, edges, color=_BLUE, edgecolor="white", label="this model")
    axes.axvline(dice.mean(), color=_RED, label=f"mean {dice.mean():.3f}")
    label = f"its 95 % interval {low:.3f} to {high:.3f}"
    axes.axvspan(low, high, color=_RED, alpha=0.25, zorder=0, label=label)
    outlined: dict[str, Any] = {"histtype": "step", "color": "black", "linestyle": "--"}
    axes.hist(baseline, edges, label="'pet' everywhere", **outlined)
    label = f"its mean {baseline.mean():.3f}"
    axes.axvline(baseline.mean(), color="black", linestyle=":", label=label)
    _from_0_to_1(axes)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("Dice of an image")
    axes.set_ylabel("images")
    axes.set_title(f"Dice of each of {split_images(analysis)}")
    _legend_below(axes)
    return figure


def plot_slices(analysis: Analysis) -> Figure:
    """Draw Dice by species and, the lowest first, by breed, with the trivial baseline of each."""
    breeds = analysis.breeds[:_MOST_BREEDS]
    slices = [*analysis.species, *breeds]
    gap = len(analysis.species)  # a row is left free between species and breeds
    rows = [row if row < gap else row + 1 for row in range(len(slices))]
    figure, axes = _figure_of_rows([_short(one.name) for one in slices], rows)
    for row, one in zip(rows, slices, strict=True):
        _plot_slice(axes, row, one)
    axes.set_xlabel("mean Dice")
    every = len(analysis.breeds)
    shown = "" if every == len(breeds) else f" (the lowest {len(breeds)} of {every})"
    title = f"Dice by species and breed{shown}, {split_images(analysis)}"
    figure.suptitle(title, y=1 - 0.12 / figure.get_figheight(), va="top")
    handles = _slice_legend(slices)
    above: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1)}
    axes.legend(handles=handles, ncols=2, frameon=False, fontsize=9, **above)
    return figure


def _figure_of_rows(names: list[str], rows: list[int]) -> tuple[Figure, Axes]:
    """Return a figure as large as its rows and the longest of their names ask for."""
    # In inches.
    left, plot, right, top, bottom = 0.35 + 0.085 * max(map(len, names)), 5.6, 1.1, 1.0, 0.55
    width, height = left + plot + right, top + bottom + 0.26 * (len(names) + 1)
    figure = Figure(figsize=(width, height))
    area = (left / width, bottom / height, plot / width, 1 - (top + bottom) / height)
    axes = figure.add_axes(area)
    axes.set_yticks(rows, names, parse_math=False)
    axes.set_ylim(len(names) + 0.6, -0.6)
    _from_0_to_1(axes)
    axes.grid(alpha=0.3)
    return figure, axes


def _plot_slice(axes: Axes, y: int, one: Slice) -> None:
    """Draw one row: interval, mean, trivial baseline and count."""
    color, marker = _BY_SPECIES[one.species]
    if one.interval:
        axes.plot(one.interval, (y, y), color=color, linewidth=2.5, alpha=0.55)
    fill = "full" if one.interval else "none"
    axes.plot(one.mean.dice, y, color=color, marker=marker, markersize=5, fillstyle=fill)
    axes.plot(one.baseline, y, color="black", marker="|", markersize=10, markeredgewidth=1.5)
    axes.annotate(
        counted(len(one.counts)),
        (1, y),
        xytext=(6, 0),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        va="center",
        fontsize=9,
    )


def _slice_legend(slices: list[Slice]) -> list[Line2D]:
    """Say what the marks mean; those of slices without an interval are hollow."""
    handles = []
    for name in sorted({one.species for one in slices}):
        color, marker = _BY_SPECIES[name]
        handles.append(Line2D([], [], color=color, marker=marker, label=f"{name}, 95 % interval"))
    black: dict[str, Any] = {"linestyle": "none", "color": "black"}
    handles.append(Line2D([], [], marker="|", markersize=10, label="'pet' everywhere", **black))
    if not all(one.interval for one in slices):
        few = "under 5 images: no interval"
        handles.append(Line2D([], [], marker="o", fillstyle="none", label=few, **black))
    return handles


def _from_0_to_1(axes: Axes) -> None:
    axes.set_xlim(0, 1)
    axes.set_xticks(np.linspace(0, 1, 11))


def _legend_below(axes: Axes) -> None:
    """Put the legend where it hides nothing."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2, frameon=False, fontsize=9)


def _short(name: str) -> str:
    most = _LONGEST_NAME - 1
    return name if len(name) <= _LONGEST_NAME else f"{name[:most]}\N{HORIZONTAL ELLIPSIS}"
