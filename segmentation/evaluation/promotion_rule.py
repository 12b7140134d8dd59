"""The one rule by which a champion changes, for `train`, `tune` and `promote` alike.

Both models are judged on the same images of the gate split, which trained neither. The challenger
takes over if it is better at `LEVEL` by a paired test, if there is no champion, or by `force`; and
never if it is not above the floors, what trivial answers score on those images.
"""

import dataclasses

from segmentation.evaluation.scoring import Evaluation
from segmentation.metrics.significance import better_by_chance

#: How often a challenger that is no better takes over: see `comparison.better_by_chance`.
LEVEL = 0.05
#: On fewer images nobody takes over without `force`: rare failures would hardly show.
FEWEST = 30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contest:
    """Two models on the gate images that count: those that neither saw in training.

    Attributes:
        challenger: its scores; None if there is no such image.
        champion: the scores of the present one on the same images, None if there is none, or if it
            could not be scored.
        incumbent: what the present champion is called, None if there is none.
        trouble: why the present champion could not be scored, else empty.
        notes: what else a reader must know, a sentence each.
        unknown: whether it is not known what the challenger was trained on.
        looks: among how many models the challenger was chosen by these very images.
    """

    challenger: Evaluation | None
    champion: Evaluation | None
    incumbent: str | None
    trouble: str = ""
    notes: tuple[str, ...] = ()
    unknown: bool = False
    num_candidates: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether the challenger becomes champion, and why.

    Attributes:
        promoted: whether it does.
        reason: one or more sentences, with the figures.
        figures: metrics by name; of the images that count.
    """

    promoted: bool
    reason: str
    metrics: dict[str, float]


def decide(contest: Contest, *, force: bool = False) -> Decision:
    """Apply the rule.

    Args:
        contest: the two models' scores.
        force: whether a person takes the responsibility for what the test does not show.
    """
    challenger, champion = contest.challenger, contest.champion
    notes = " ".join(("", *contest.notes))
    if challenger is None:
        return Decision(
            promoted=False,
            reason=f"Not champion: there is no image of the gate split to judge it by.{notes}",
            metrics={},
        )
    figures = challenger.metrics()
    seen = f"gate Dice {figures['gate/dice']:.3f} on {len(challenger.counts)} images"
    floors = (
        f"answering 'pet' everywhere scores {figures['gate/floor_dice']:.3f} there, answering "
        f"'background' everywhere accuracy {figures['gate/floor_accuracy']:.3f}"
    )
    better = ""
    allowed = LEVEL / contest.num_candidates
    p_value = 1.0
    if champion is not None:
        differences = challenger.counts.dice() - champion.counts.dice()
        p_value = better_by_chance(differences)
        figures |= {
            "gate/champion_dice": champion.counts.mean().dice,
            "gate/difference": float(differences.mean()),
            "gate/p_value": p_value,
            "gate/level": allowed,
        }
        better = (
            f" against {figures['gate/champion_dice']:.3f} of {contest.incumbent} "
            f"({figures['gate/difference']:+.3f}, p = {p_value:.4f}, level {allowed:.4g}"
            + (
                f": {LEVEL:g} over {contest.num_candidates} looks"
                if contest.num_candidates > 1
                else ""
            )
            + ")"
        )
    if not challenger.above_baselines():
        promoted, why = False, f"not above the floors: {floors}"
    elif force:
        promoted, why = True, "as `force` says"
    elif contest.unknown:
        promoted, why = False, "it is not known which images it was trained on"
    elif contest.incumbent is None:
        promoted, why = True, f"the first one above the floors: {floors}"
    elif champion is None:
        promoted, why = False, f"{contest.incumbent} could not be judged: {contest.trouble}"
    elif len(champion.counts) < FEWEST:
        promoted, why = False, f"too few images to tell: at least {FEWEST} are needed"
    elif p_value <= allowed:
        promoted, why = True, "better by the paired test"
    else:
        promoted, why = False, "not shown to be better"
    word = "Champion" if promoted else "Not champion"
    return Decision(
        promoted=promoted, reason=f"{word}: {seen}{better}; {why}.{notes}", metrics=figures
    )
