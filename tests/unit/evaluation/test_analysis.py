"""A model whose answers are known, analyzed in every way; the figures by hand."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segmentation.data.example import Example
from segmentation.errors import DataError
from segmentation.evaluation.analysis import BORDERS, IMAGE_SCORES, Analysis, ImageScore, analyze
from segmentation.evaluation.gallery import Gallery
from segmentation.evaluation.report.report import html_report, report_figures
from segmentation.evaluation.scoring import ImageResult, count_pixels
from segmentation.metrics.calibration import histogram
from segmentation.models.predictor import Photo, Probability
from segmentation.utils.concurrency import ignore_progress

#: Trimap and probability of an image of one row: pet, pet, border, border, four of background.
TRIMAP = [1, 1, 3, 3, 2, 2, 2, 2]
ANSWER = [0.8, 0.8, 0.8, 0.2, 0.2, 0.2, 0.2, 0.8]


class Red:
    """A model that takes the share of red for the probability of pet."""

    device = torch.device("cpu")

    def __call__(self, photos: Iterable[Photo]) -> Iterator[Probability]:
        for photo in photos:
            yield np.asarray(photo[:, :, 0] / 255, np.float32)


def example(name: str, folder: Path) -> Example:
    """An example of this name; in lower case it is a dog."""
    return Example(
        id=name,
        key=name,
        kind=name.rsplit("_", 1)[0],
        species="cat" if name[0].isupper() else "dog",
        image=folder / f"{name}.jpg",
        mask=folder / f"{name}.png",
    )


def result(name: str, answer: np.ndarray, mask: np.ndarray) -> ImageResult:
    """What is kept of an image; all of its pixels count."""
    valid = np.ones_like(mask)
    counts = count_pixels(answer > 0.5, mask, valid)
    return ImageResult(example(name, Path()), counts, histogram(answer, mask, valid))


def write(folder: Path, name: str, trimap: object = TRIMAP, answer: object = ANSWER) -> Example:
    """Write an image to which `Red` gives this answer."""
    red = np.array([answer], np.float64) * 255
    pixels = np.zeros((*red.shape, 3), np.uint8)
    pixels[..., 0] = red.round()
    written = example(name, folder)
    Image.fromarray(pixels).save(written.image, "PNG")
    Image.fromarray(np.array([trimap], np.uint8)).save(written.mask)
    return written


def analysis(examples: Sequence[Example], border: str = "pet") -> Analysis:
    return analyze("test", Red(), examples, border, lambda _: None, ignore_progress)


def test_the_three_meanings_of_the_border_by_hand(tmp_path: Path) -> None:
    tabby = write(tmp_path, "Tabby_1")
    found = analysis([tabby])
    assert tuple(found.by_border) == BORDERS
    dice = {name: one.counts.mean().dice for name, one in found.by_border.items()}
    # as pet: TP 3, FP 1, FN 1; as background: TP 2, FP 2; ignored: TP 2, FP 1
    assert dice == pytest.approx({"pet": 6 / 8, "background": 4 / 6, "ignore": 4 / 5})
    for border, expected in dice.items():
        asked = analysis([tabby], border)
        assert asked.evaluation is asked.by_border[border]
        assert asked.scores["dice"].tolist() == [expected]
        assert [one.mean.dice for one in (*asked.species, *asked.kinds)] == [expected] * 2
        assert asked.curve[0.5] == pytest.approx(expected)
        assert sum(one.pixels for one in asked.bins) == (6 if border == "ignore" else 8)
    accuracy = {name: one.counts.mean().accuracy for name, one in found.by_border.items()}
    assert accuracy == pytest.approx({"pet": 6 / 8, "background": 6 / 8, "ignore": 5 / 6})
    assert found.digests == (hashlib.sha256(tabby.image.read_bytes()).hexdigest(),)


@pytest.mark.parametrize("border", BORDERS)
def test_the_true_outline_is_the_borders_outer_or_inner_edge(tmp_path: Path, border: str) -> None:
    # Within 1 pixel. The outline of the answer: columns 2 and 7. Of the truth: column 3 or 1, which
    # is met; column 7 meets nothing. Precision 1/2, recall 1.
    found = analysis([write(tmp_path, "Tabby_1")], border)
    assert found.scores["boundary_f"].tolist() == pytest.approx([2 / 3])
    # The answer ends at column 4; as pet, or ignored, the truth ends at 3, as background at 1.
    found = analysis([write(tmp_path, "Tabby_1", answer=[1] * 5 + [0] * 3)], border)
    assert found.scores["boundary_f"].tolist() == [border != "background"]


def test_slices_by_hand(tmp_path: Path) -> None:
    good, poor = [1, 1, 0, 0], [1, 0, 0, 0]  # Dice 1 and 2/3
    answers = {f"Tabby_{number}": good if number < 3 else poor for number in range(5)}
    answers |= {"pug_1": poor, "Smoke_1": good}
    found = analysis([write(tmp_path, name, [1, 1, 2, 2], one) for name, one in answers.items()])
    slices = [*found.species, *found.kinds]
    assert [(one.name, one.species, len(one.counts)) for one in slices] == [
        ("cat", "cat", 6),
        ("dog", "dog", 1),
        ("pug", "dog", 1),  # the lowest Dice first
        ("Tabby", "cat", 5),
        ("Smoke", "cat", 1),
    ]
    dice = [(4 + 2 * 2 / 3) / 6, 2 / 3, 2 / 3, (3 + 2 * 2 / 3) / 5, 1]
    assert [one.mean.dice for one in slices] == pytest.approx(dice)
    tabby = slices[3]
    assert tabby.mean.iou == pytest.approx((3 + 2 * 1 / 2) / 5)
    assert tabby.mean.accuracy == pytest.approx((3 + 2 * 3 / 4) / 5)
    assert [one.baseline for one in slices] == pytest.approx([2 / 3] * 5)  # half of each is pet
    assert [one.interval is None for one in slices] == [False, True, True, False, True]
    assert tabby.interval is not None
    assert tabby.interval[0] < tabby.mean.dice < tabby.interval[1]


@pytest.mark.parametrize(
    ("answer", "best"),
    [
        ([1.0, 1.0, 0.0, 0.0], 0.5),  # every threshold is as good
        ([0.33, 0.33, 0.27, 0.0], 0.3),
        ([0.9, 0.9, 0.62, 0.0], 0.65),  # the nearest to 0.5 of several
    ],
)
def test_the_best_threshold(tmp_path: Path, answer: list[float], best: float) -> None:
    assert analysis([write(tmp_path, "pug_1", [1, 1, 2, 2], answer)]).best_threshold == best


def test_bad_examples_are_named_and_left_out_and_pictures_are_of_the_others(tmp_path: Path) -> None:
    examples = [write(tmp_path, f"pug_{n:02}", answer=[n / 23, *ANSWER[1:]]) for n in range(24)]
    examples[7].image.unlink()
    examples[20].mask.write_bytes(b"")
    gallery, seen = Gallery(examples), []
    found = analyze("gate", Red(), examples, "pet", gallery.draw, lambda *done: seen.append(done))
    good = [one for one in examples if one.id not in ("pug_07", "pug_20")]
    assert list(found.examples) == good
    assert set(gallery.thumbnails) == {one.id for one in good}
    again = Gallery(examples)
    analyze("gate", Red(), examples, "pet", again.draw, ignore_progress)
    assert np.array_equal(gallery.worst(), again.worst())
    assert np.array_equal(gallery.random(), again.random())
    assert ["pug_07.jpg" in found.problems[0], "pug_20.png" in found.problems[1]] == [True, True]
    assert len(found.problems) == 2
    assert seen[-1] == (24, 24)
    lengths = {len(found.digests), len(found.histograms), len(found.scores["iou"])}
    assert lengths | {len(one.counts) for one in found.by_border.values()} == {22}


def test_a_score_that_is_added_is_in_the_metrics_and_in_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = ImageScore("Share of pet", lambda image: float(image.prediction.mean()))
    monkeypatch.setitem(IMAGE_SCORES, "pet", added)
    found = analysis([write(tmp_path, "pug_1"), write(tmp_path, "pug_2", answer=[1] * 8)])
    assert found.metrics()["test/pet"] == (4 / 8 + 1) / 2
    figures = report_figures(found, model="", uri="", data="", seen=None)
    text = html_report(figures, {})
    assert "<strong>Share of pet</strong><b>0.750</b>" in text
    assert '<th scope="col">Share of pet</th>' in text


def test_without_a_single_good_example_all_are_named(tmp_path: Path) -> None:
    examples = [write(tmp_path, f"pug_{n}") for n in range(2)]
    for one in examples:
        one.image.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"(?s)pug_0\.jpg.*pug_1\.jpg"):
        analysis(examples)
