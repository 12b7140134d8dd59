"""The plots of an examination. Each says in its title on how many images it rests."""

from typing import TYPE_CHECKING

import numpy as np

from segmentation.evaluation.analysis import Analysis, Slice
from segmentation.evaluation.report.text import by_dice, counted, images, of_kind
from segmentation.evaluation.scoring import THRESHOLD

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

# Okabe and Ito's colours, as in `figures`.
_BLUE, _ORANGE, _GREEN, _RED = "#0072b2", "#e69f00", "#009e73", "#d55e00"
_GREY = "#767676"
_BY_SPECIES = {"cat": (_ORANGE, "o"), "dog": (_BLUE, "s")}
#: More rows would be taller than what a picture may be.
_MOST_BREEDS = 60
_LONGEST_NAME = 32
# By hand, here and below: an automatic layout draws everything twice.
_LAYOUT = {"left": 0.09, "right": 0.97, "bottom": 0.26, "top": 0.92}


def figures(examination: Analysis) -> dict[str, "Figure"]:
    """Draw all plots, by the names of their files without suffix."""
    return {
        "threshold": threshold_figure(examination),
        "calibration": calibration_figure(examination),
        "scores": scores_figure(examination),
        "slices": slices_figure(examination),
    }


def threshold_figure(examination: Analysis) -> "Figure":
    """Draw mean Dice over thresholds."""
    # Without pyplot there is no global state, no window and nothing to close.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.8))
    axes = figure.subplots(gridspec_kw=_LAYOUT)
    curve, best = examination.curve, examination.best_threshold
    floor = examination.evaluation.counts.all_pet().mean().dice
    axes.plot(list(curve), list(curve.values()), color=_BLUE, marker="o", markersize=4)
    axes.axvline(
        THRESHOLD,
        color=_GREY,
        linestyle=":",
        label=f"{THRESHOLD:g}, which is used: Dice {curve[THRESHOLD]:.3f}",
    )
    if best != THRESHOLD:
        axes.plot(
            best,
            curve[best],
            color=_RED,
            marker="D",
            linestyle="none",
            label=f"{best:g}, the highest on these images: Dice {curve[best]:.3f}",
        )
    axes.axhline(floor, color="black", linestyle="--", label=f"'pet' everywhere: Dice {floor:.3f}")
    _from_0_to_1(axes)
    axes.set_ylim(np.floor(10 * min(floor, *curve.values())) / 10 - 0.02, 1)
    axes.set_xlabel("threshold: above it a pixel is called pet")
    axes.set_ylabel("mean Dice")
    axes.set_title(f"Dice by threshold, mean over {images(examination)}")
    axes.grid(alpha=0.3)
    _legend_below(axes)
    return figure


def calibration_figure(examination: Analysis) -> "Figure":
    """Draw the share of pet over the probability of pet, and how many pixels there are to it."""
    from matplotlib.figure import Figure

    bins = examination.bins
    pixels = sum(one.pixels for one in bins)
    figure = Figure(figsize=(6.5, 6.5))
    above, below = figure.subplots(
        2,
        1,
        sharex=True,
        gridspec_kw={
            "left": 0.12,
            "right": 0.96,
            "bottom": 0.08,
            "top": 0.89,
            "hspace": 0.08,
            "height_ratios": (3, 1),
        },
    )
    above.plot([0, 1], [0, 1], color=_GREY, linestyle="--", label="perfectly calibrated")
    above.plot(
        [one.probability for one in bins],
        [one.share for one in bins],
        color=_BLUE,
        marker="o",
        label="this model",
    )
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
        f"Expected calibration error {examination.calibration_error:.3f}\n"
        f"over the {pixels:,} pixels of {images(examination)}"
    )
    return figure


def scores_figure(examination: Analysis) -> "Figure":
    """Draw how the Dice of single images is distributed, and that of the floor."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    counts = examination.evaluation.counts
    dice, floor = counts.dice(), counts.all_pet().dice()
    low, high = examination.evaluation.interval()
    edges = np.linspace(0, 1, 21).tolist()
    figure = Figure(figsize=(8, 4.8))
    axes = figure.subplots(gridspec_kw=_LAYOUT)
    axes.hist(dice, edges, color=_BLUE, edgecolor="white", label="this model")
    axes.axvline(dice.mean(), color=_RED, label=f"mean {dice.mean():.3f}")
    interval = f"its 95 % interval {low:.3f} to {high:.3f}"
    axes.axvspan(low, high, color=_RED, alpha=0.25, zorder=0, label=interval)
    axes.hist(
        floor, edges, histtype="step", color="black", linestyle="--", label="'pet' everywhere"
    )
    axes.axvline(floor.mean(), color="black", linestyle=":", label=f"its mean {floor.mean():.3f}")
    _from_0_to_1(axes)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("Dice of an image")
    axes.set_ylabel("images")
    axes.set_title(f"Dice of each of {images(examination)}")
    _legend_below(axes)
    return figure


def slices_figure(examination: Analysis) -> "Figure":
    """Draw Dice by species and, the lowest first, by breed, with the floor of each."""
    from matplotlib.figure import Figure

    species = of_kind(examination, "species")
    every = by_dice(of_kind(examination, "breed"))
    breeds = every[:_MOST_BREEDS]
    belongs = {example.breed: example.species for example in examination.examples}
    # In inches, as the number of rows and the longest name ask for.
    drawn = [*species, *breeds]
    names = [_short(one.name) for one in drawn]
    left, right, top, bottom, row = 0.35 + 0.085 * max(map(len, names)), 1.1, 1.0, 0.55, 0.26
    width = left + 5.6 + right
    height = top + bottom + row * (len(names) + 1)
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes(
        (left / width, bottom / height, 5.6 / width, 1 - (top + bottom) / height)
    )
    places = [*range(len(species)), *range(len(species) + 1, len(names) + 1)]  # a gap between
    for y, one in zip(places, drawn, strict=True):
        of = one.name if one.kind == "species" else belongs[one.name]
        _draw_slice(axes, y, one, *_BY_SPECIES[of])
    axes.set_yticks(places, names, parse_math=False)
    axes.set_ylim(len(names) + 0.6, -0.6)
    _from_0_to_1(axes)
    axes.set_xlabel("mean Dice")
    axes.grid(alpha=0.3)
    shown = "" if len(every) == len(breeds) else f" (the lowest {len(breeds)} of {len(every)})"
    figure.suptitle(
        f"Dice by species and breed{shown}, {images(examination)}", y=1 - 0.12 / height, va="top"
    )
    axes.legend(
        handles=_legend(set(belongs.values()), hollow=any(not one.interval for one in drawn)),
        loc="lower center",
        bbox_to_anchor=(0.5, 1),
        ncols=2,
        frameon=False,
        fontsize=9,
    )
    return figure


def _from_0_to_1(axes: "Axes") -> None:
    axes.set_xlim(0, 1)
    axes.set_xticks(np.linspace(0, 1, 11))


def _legend_below(axes: "Axes") -> None:
    """Put the legend where it hides nothing."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2, frameon=False, fontsize=9)


def _draw_slice(axes: "Axes", y: int, one: Slice, colour: str, marker: str) -> None:
    """Draw one row: interval, mean, floor and count."""
    if one.interval:
        axes.plot(one.interval, (y, y), color=colour, linewidth=2.5, alpha=0.55)
    axes.plot(
        one.dice,
        y,
        color=colour,
        marker=marker,
        markersize=5,
        fillstyle="full" if one.interval else "none",
    )
    axes.plot(one.baseline, y, color="black", marker="|", markersize=10, markeredgewidth=1.5)
    axes.annotate(
        counted(one.images),
        (1, y),
        xytext=(6, 0),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        va="center",
        fontsize=9,
    )


def _legend(species: set[str], *, hollow: bool) -> list["Line2D"]:
    """Say what the marks mean; those of slices without an interval are hollow."""
    from matplotlib.lines import Line2D

    found = []
    for name in sorted(species):
        colour, marker = _BY_SPECIES[name]
        found.append(Line2D([], [], color=colour, marker=marker, label=f"{name}, 95 % interval"))
    mark = Line2D([], [], linestyle="none", color="black", marker="|", markersize=10)
    mark.set_label("'pet' everywhere")
    found.append(mark)
    if hollow:
        few = Line2D([], [], linestyle="none", color="black", marker="o", fillstyle="none")
        few.set_label("under 5 images: no interval")
        found.append(few)
    return found


def _short(name: str) -> str:
    return (
        name
        if len(name) <= _LONGEST_NAME
        else f"{name[: _LONGEST_NAME - 1]}\N{HORIZONTAL ELLIPSIS}"
    )
