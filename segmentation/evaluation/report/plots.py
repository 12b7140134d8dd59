"""The plots of an analysis. Each says in its title on how many images it rests."""

import numpy as np

from segmentation.evaluation.analysis import Analysis
from segmentation.evaluation.report.report import counted, sliced_by, split_images
from segmentation.evaluation.scoring import THRESHOLD
from segmentation.utils.figures import Axes, Figure, MaxNLocator, default_style

# Okabe and Ito's colors, as in `pictures`.
_BLUE, _ORANGE, _RED, _GRAY = "#0072b2", "#e69f00", "#d55e00", "#767676"
_BY_SPECIES = {"cat": (_ORANGE, "o"), "dog": (_BLUE, "s")}
_LONGEST_NAME = 32


def plot_all(analysis: Analysis) -> dict[str, Figure]:
    """Draw all plots, by the names of their files."""
    with default_style():
        return {
            "threshold.png": plot_thresholds(analysis),
            "calibration.png": plot_calibration(analysis),
            "scores.png": plot_scores(analysis),
            **({"slices.png": plot_slices(analysis)} if analysis.kinds else {}),
        }


def plot_thresholds(analysis: Analysis) -> Figure:
    """Draw mean Dice over thresholds."""
    figure, axes = _figure(8, 4.8)
    curve, best = analysis.curve, analysis.best_threshold
    baseline = analysis.evaluation.counts.all_pet().mean().dice
    axes.plot(list(curve), list(curve.values()), color=_BLUE, marker="o", markersize=4)
    label = f"{THRESHOLD:g}, which scores use: Dice {curve[THRESHOLD]:.3f}"
    axes.axvline(THRESHOLD, color=_GRAY, linestyle=":", label=label)
    if best != THRESHOLD:
        label = f"{best:g}, the highest on these images: Dice {curve[best]:.3f}"
        axes.plot(best, curve[best], color=_RED, marker="D", linestyle="none", label=label)
    label = f"'{analysis.labels.noun}' everywhere: Dice {baseline:.3f}"
    axes.axhline(baseline, color="black", linestyle="--", label=label)
    axes.set_ylim(np.floor(10 * min(baseline, *curve.values())) / 10 - 0.02, 1)
    axes.set_xlabel("threshold: above it a pixel is called " + analysis.labels.noun)
    axes.set_ylabel("mean Dice")
    axes.set_title(f"Dice by threshold, mean over {split_images(analysis)}")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def plot_calibration(analysis: Analysis) -> Figure:
    """Draw the share of foreground over its probability."""
    bins, noun = analysis.bins, analysis.labels.noun
    pixels = sum(one.pixels for one in bins)
    figure, axes = _figure(6.5, 5)
    axes.plot([0, 1], [0, 1], color=_GRAY, linestyle="--", label="perfectly calibrated")
    points = [one.probability for one in bins], [one.share for one in bins]
    axes.plot(*points, color=_BLUE, marker="o", label="this model")
    for one, x, y in zip(bins, *points, strict=True):
        axes.annotate(f"{one.pixels / pixels:.0%}", (x, y), (6, -10), textcoords="offset points")
    axes.set_xlabel(f"probability of {noun}, in ten bins, with their shares of the pixels")
    axes.set_ylabel(f"share of the pixels that are {noun}")
    axes.legend(loc="upper left")
    axes.grid(alpha=0.3)
    axes.set_title(
        f"Expected calibration error {analysis.calibration_error:.3f}\n"
        f"over the {pixels:,} pixels of {split_images(analysis)}"
    )
    return figure


def plot_scores(analysis: Analysis) -> Figure:
    """Draw how the Dice of single images is distributed, and that of the trivial baseline."""
    counts = analysis.evaluation.counts
    dice, baseline = counts.dice(), counts.all_pet().dice()
    low, high = analysis.evaluation.interval
    figure, axes = _figure(8, 4.8)
    edges = np.linspace(0, 1, 21).tolist()
    axes.hist(dice, edges, color=_BLUE, edgecolor="white", label="this model")
    axes.axvline(dice.mean(), color=_RED, label=f"mean {dice.mean():.3f}")
    label = f"its 95 % interval {low:.3f} to {high:.3f}"
    axes.axvspan(low, high, color=_RED, alpha=0.25, zorder=0, label=label)
    axes.stairs(
        np.histogram(baseline, edges)[0],
        edges,
        color="black",
        linestyle="--",
        label=f"'{analysis.labels.noun}' everywhere",
    )
    label = f"its mean {baseline.mean():.3f}"
    axes.axvline(baseline.mean(), color="black", linestyle=":", label=label)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("Dice of an image")
    axes.set_ylabel("images")
    axes.set_title(f"Dice of each of {split_images(analysis)}")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def plot_slices(analysis: Analysis) -> Figure:
    """Draw Dice by species and, the lowest first, by kind, with the trivial baseline of each."""
    slices = [*analysis.species, *analysis.kinds]
    figure, axes = _figure(9, 1.8 + 0.26 * len(slices))
    names = [f"{one.name[:_LONGEST_NAME]}, {counted(len(one.counts))}" for one in slices]
    axes.set_yticks(range(len(slices)), names, parse_math=False)
    axes.invert_yaxis()
    for species in sorted({one.species for one in slices}):
        color, marker = _BY_SPECIES.get(species, (_BLUE, "o"))
        rows = [y for y, one in enumerate(slices) if one.species == species]
        dice = [slices[y].mean.dice for y in rows]
        axes.plot(dice, rows, marker, color=color, label=f"{species or 'mean'}, 95 % interval")
        for y in rows:  # of too few images there is no interval
            if interval := slices[y].interval:
                axes.plot(interval, (y, y), color=color)
    baselines = [one.baseline for one in slices]
    axes.plot(
        baselines,
        range(len(slices)),
        "k|",
        markersize=10,
        label=f"'{analysis.labels.noun}' everywhere",
    )
    if analysis.species:
        axes.axhline(len(analysis.species) - 0.5, color=_GRAY)
    axes.set_xlabel("mean Dice")
    axes.grid(alpha=0.3)
    axes.set_title(f"Dice by {sliced_by(analysis)}, {split_images(analysis)}")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure, in inches, with one plot over values from 0 to 1."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.set_xlim(0, 1)
    axes.set_xticks(np.linspace(0, 1, 11))
    return figure, axes
