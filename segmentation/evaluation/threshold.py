"""The threshold that a model brings along: chosen on its validation images, tested on the gate."""

from collections.abc import Mapping
from typing import NamedTuple

from segmentation.evaluation.promotion_rule import FEWEST, LEVEL
from segmentation.evaluation.scoring import THRESHOLD, Evaluation
from segmentation.metrics.calibration import dice_at, threshold_curve
from segmentation.metrics.significance import p_value_of_better


class OwnThreshold(NamedTuple):
    """What predictions use where no threshold is given, in (0, 1), and why in a few words."""

    value: float
    reason: str


def best_threshold(curve: Mapping[float, float]) -> float:
    """Return the threshold with the highest Dice; of equals the one nearest to 0.5."""
    return max(curve, key=lambda one: (curve[one], -abs(one - THRESHOLD)))


def choose_threshold(val: Evaluation, gate: Evaluation | None) -> OwnThreshold:
    """Take what is best on validation, if the paired test of promotion shows that it is better.

    Few validation images choose by chance, so it must be better than 0.5 on others. `gate` is None
    where the model is not judged on these.
    """
    best = best_threshold(threshold_curve(val.histograms))
    if best == THRESHOLD:
        return OwnThreshold(THRESHOLD, "no other is better on the validation images")
    if gate is None:
        return OwnThreshold(THRESHOLD, f"{best:g}, best on validation, met no gate image")
    if len(gate.counts) < FEWEST:
        why = f"{best:g}, best on validation, met too few gate images: at least {FEWEST} are needed"
        return OwnThreshold(THRESHOLD, why)
    own, usual = (dice_at(one, gate.histograms) for one in (best, THRESHOLD))
    p_value = p_value_of_better(own - usual)
    figures = (
        f"gate Dice {own.mean():.4f} against {usual.mean():.4f} at {THRESHOLD:g} on {len(own)} "
        f"images, p = {p_value:.4f}"
    )
    if p_value <= LEVEL:
        return OwnThreshold(best, f"best on validation, and better by the paired test: {figures}")
    why = f"{best:g}, best on validation, is not shown to be better: {figures}"
    return OwnThreshold(THRESHOLD, why)
