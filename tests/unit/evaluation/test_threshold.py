"""The threshold that a model brings along, of probabilities made by hand."""

import numpy as np
import pytest

from segmentation.evaluation.scoring import Evaluation
from segmentation.evaluation.threshold import choose_threshold
from tests.unit.evaluation.test_analysis import result

#: Pet, pet, background, background, by their probabilities of pet. Dice is 2/3 above 0.5. Above
#: 0.4, 0.35 and 0.3 it is 1 where one is unsure of pet, and 4/5 where one is unsure of background.
UNSURE_OF_PET, UNSURE_OF_BACKGROUND = [0.9, 0.42, 0.3, 0.2], [0.9, 0.6, 0.42, 0.2]
SURE = [0.96, 0.96, 0.04, 0.04]


def judged(*images: list[float]) -> Evaluation:
    mask, answers = np.array([[1, 1, 0, 0]], np.uint8), np.array(images, np.float32)[:, None]
    return Evaluation.of("val", [result("pug_1", answer, mask) for answer in answers])


@pytest.mark.parametrize(
    ("val", "gate", "value", "text"),
    [
        ([UNSURE_OF_PET, SURE], [UNSURE_OF_PET] * 30, 0.4, "0.6667 at 0.5 on 30 images, p = 0.00"),
        ([UNSURE_OF_PET, SURE], [UNSURE_OF_PET] * 29, 0.5, "0.4, best on validation, met too few"),
        ([UNSURE_OF_PET, SURE], [UNSURE_OF_BACKGROUND] * 30, 0.5, "0.8000 against 1.0000 at 0.5"),
        ([UNSURE_OF_PET, SURE], [SURE] * 30, 0.5, "1.0000 at 0.5 on 30 images, p = 1"),
        ([UNSURE_OF_PET, SURE], None, 0.5, "0.4, best on validation, met no gate image"),
        ([UNSURE_OF_BACKGROUND, SURE], [UNSURE_OF_PET] * 30, 0.5, "no other is better"),
        ([SURE], [UNSURE_OF_PET] * 30, 0.5, "no other is better"),
    ],
)
def test_what_is_best_on_validation_is_taken_if_the_gate_shows_it_to_be_better(
    val: list[list[float]], gate: list[list[float]] | None, value: float, text: str
) -> None:
    chosen = choose_threshold(judged(*val), judged(*gate) if gate else None)
    assert chosen.value == value
    assert text in chosen.reason
