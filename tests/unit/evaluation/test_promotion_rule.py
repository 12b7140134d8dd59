"""The rule of promotion, case by case."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segmentation.evaluation.promotion_rule import Contest, decide
from segmentation.evaluation.scoring import Evaluation
from segmentation.metrics.segmentation import Counts
from tests.unit.evaluation.test_analysis import example


def evaluation(dice: float, images: int = 32, missed: int = 0) -> Evaluation:
    """Images of 1000 pixels, 400 of them pet, that score such Dice, without false positives.

    Of the first one some more pixels are missed.
    """
    tp = np.full(images, round(400 * dice / (2 - dice)))
    tp[0] -= missed
    counts = Counts(tp=tp, fp=np.zeros_like(tp), fn=400 - tp, tn=np.full_like(tp, 600))
    examples = (example("Tabby_1", Path()),) * len(tp)
    return Evaluation(split="gate", examples=examples, counts=counts)


GOOD, FAIR = evaluation(0.9), evaluation(0.8)
POOR = evaluation(0.5)  # below Dice 0.571 of answering `pet` everywhere
ALONE = Contest(challenger=GOOD, champion=None, incumbent=None)
AGAINST = Contest(challenger=GOOD, champion=FAIR, incumbent="version 1")
FEW = replace(AGAINST, challenger=evaluation(0.9, 20), champion=evaluation(0.8, 20))
BROKEN = Contest(challenger=GOOD, champion=None, incumbent="version 1", trouble="gone")


@pytest.mark.parametrize(
    ("contest", "force", "promoted", "text"),
    [
        (ALONE, False, True, "the first one above the trivial baselines"),
        (replace(ALONE, challenger=POOR), False, False, "not above the trivial baselines"),
        (replace(ALONE, challenger=None), False, False, "no image of the gate split"),
        (AGAINST, False, True, "better by the paired test"),
        (replace(AGAINST, challenger=FAIR), False, False, "not shown to be better"),
        (replace(AGAINST, challenger=evaluation(0.8, missed=1)), False, False, "(+0.000, p = "),
        (replace(AGAINST, challenger=FAIR), True, True, "as `force` says"),
        (replace(AGAINST, challenger=POOR), True, False, "not above the trivial baselines"),
        (replace(AGAINST, num_candidates=1000), False, False, "0.05 over 1000 looks"),
        (FEW, False, False, "too few images to tell: at least 30"),
        (replace(AGAINST, unknown=True), False, False, "not known which images"),
        (BROKEN, False, False, "version 1 could not be judged: gone"),
        (BROKEN, True, True, "as `force` says"),
    ],
)
def test_each_case_of_the_rule(contest: Contest, force: bool, promoted: bool, text: str) -> None:
    decision = decide(contest, force=force)
    assert decision.promoted == promoted
    assert text in decision.reason
    assert decision.reason.startswith("Champion: " if promoted else "Not champion: ")
