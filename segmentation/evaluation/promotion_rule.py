"""The one rule by which a champion changes, for `train`, `tune` and `promote` alike.

Both models are scored on the same images of the gate split, which trained neither. The challenger
takes over if a paired test at `LEVEL` shows that it is better, if there is no champion yet, or by
`force`; never if it is not above the trivial baselines on those images.
"""

import dataclasses

from segmentation.evaluation.scoring import Evaluation
from segmentation.metrics.significance import p_value_of_better

#: How often a challenger that is no better takes over: see `p_value_of_better`.
LEVEL = 0.05
#: On fewer images nobody takes over without `force`: rare failures would hardly show.
FEWEST = 30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contest:
    """Two models on the gate images that count: those that neither saw in training."""

    challenger: Evaluation | None  # None if there is no such image
    champion: Evaluation | None  # on the same images; None if there is none, or it cannot be scored
    incumbent: str | None  # what the champion is called
    trouble: str = ""  # why the champion cannot be scored
    notes: tuple[str, ...] = ()  # what else a reader must know, a sentence each
    unknown: bool = False  # whether it is not known what the challenger was trained on
    num_candidates: int = 1  # of which these images chose the challenger

    @property
    def level(self) -> float:
        """The level of the test: the best of many equal models looks good by chance.

        By C. E. Bonferroni, 1936: the level over the number of comparisons.
        """
        return LEVEL / self.num_candidates


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether the challenger becomes champion, and why, in sentences with the figures."""

    promoted: bool
    reason: str
    metrics: dict[str, float]  # by the names MLflow tracks; of the images that count


def decide(contest: Contest, *, force: bool = False) -> Decision:
    """Apply the rule; with `force` a person answers for what the test does not show."""
    notes = " ".join(("", *contest.notes))
    if contest.challenger is None:
        reason = f"Not champion: there is no image of the gate split to judge it by.{notes}"
        return Decision(promoted=False, reason=reason, metrics={})
    metrics = contest.challenger.metrics()
    if contest.champion is not None:
        differences = contest.challenger.counts.dice() - contest.champion.counts.dice()
        metrics |= {
            "gate/champion_dice": contest.champion.counts.mean().dice,
            "gate/difference": float(differences.mean()),
            "gate/p_value": p_value_of_better(differences),
            "gate/level": contest.level,
        }
    promoted, why = _verdict(contest, contest.challenger, metrics, force)
    head = "Champion" if promoted else "Not champion"
    reason = f"{head}: {_scores(contest, metrics)}; {why}.{notes}"
    return Decision(promoted=promoted, reason=reason, metrics=metrics)


def _verdict(
    contest: Contest, challenger: Evaluation, metrics: dict[str, float], force: bool
) -> tuple[bool, str]:
    """Return whether the challenger takes over, and why; the first that applies decides."""
    noun, floor = challenger.labels.noun, f"{metrics['gate/floor_dice']:.3f}"
    if not challenger.above_baselines():
        return False, (
            f"not above the trivial baselines: '{noun}' everywhere scores {floor} there, "
            f"'background' everywhere an accuracy of {metrics['gate/floor_accuracy']:.3f}, "
            f"this model an accuracy of {metrics['gate/accuracy']:.3f}"
        )
    if force:
        return True, "as `force` says"
    if contest.unknown:
        return False, "it is not known which images it was trained on"
    if contest.incumbent is None:
        return True, f"the first one above the trivial baselines ('{noun}' everywhere: {floor})"
    if contest.champion is None:
        return False, f"{contest.incumbent} could not be judged: {contest.trouble}"
    if metrics["gate/images"] < FEWEST:
        return False, f"too few images to tell: at least {FEWEST} are needed"
    if metrics["gate/p_value"] <= contest.level:
        return True, "better by the paired test"
    return False, "not shown to be better"


def _scores(contest: Contest, metrics: dict[str, float]) -> str:
    text = f"gate Dice {metrics['gate/dice']:.3f} on {metrics['gate/images']:.0f} images"
    if contest.champion is None:
        return text
    among = f": {LEVEL:g} over {contest.num_candidates} looks"
    return (
        f"{text} against {metrics['gate/champion_dice']:.3f} of {contest.incumbent} "
        f"({metrics['gate/difference']:+z.3f}, p = {metrics['gate/p_value']:.4f}, level "
        f"{contest.level:.4g}{among if contest.num_candidates > 1 else ''})"
    )
