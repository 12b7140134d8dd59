"""What is said of an analysis: metrics, console lines, description, plots, a report to mail."""

import base64
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from html import unescape
from typing import Any

import numpy as np
import pytest

from segmentation.evaluation.analysis import BORDERS, Analysis
from segmentation.evaluation.pictures import encode_figure
from segmentation.evaluation.report.plots import plot_all
from segmentation.evaluation.report.report import (
    console_lines,
    description,
    html_report,
    report_figures,
)
from segmentation.evaluation.scoring import Evaluation
from tests.unit.evaluation.test_analysis import result

HOSTILE = "<b>x</b>"
PICTURES = {
    **{f"{name}.png": name.encode() for name in ("threshold", "calibration", "scores", "slices")},
    "worst.jpg": b"the worst",
    "random.jpg": bytes(range(256)),
}
#: Nothing of the images was seen before.
UNSEEN = {"train": 0, "val": 0}


def analysis(*names: str, split: str = "test", problems: Sequence[str] = ()) -> Analysis:
    """Images of 64 pixels, half of them pet; their Dice rises."""
    truth = np.repeat(np.array([[1], [0]], np.uint8), 32, axis=1)
    answers = np.full((len(names), *truth.shape), 0.1, np.float32)
    for number, answer in enumerate(answers):
        answer[0, : 8 + 24 * number // len(names)] = 0.8
    results = [result(*image, truth) for image in zip(names, answers, strict=True)]
    evaluation = Evaluation.of(split, results)
    counts = evaluation.counts
    return Analysis(
        split=split,
        border="pet",
        examples=evaluation.examples,
        digests=tuple("0" * 64 for _ in names),
        scores={
            "dice": counts.dice(),
            "iou": counts.iou(),
            "accuracy": counts.accuracy(),
            "boundary_f": np.linspace(0.2, 0.7, len(names)),
        },
        by_border=dict.fromkeys(BORDERS, evaluation),
        histograms=evaluation.histograms,
        problems=tuple(problems),
    )


#: Dice 0.4, 0.55, 0.67, 0.77, 0.86 and 0.93.
SIX = analysis("Tabby_1", "pug_1", "Tabby_2", "pug_2", HOSTILE, "Tabby_3", problems=["1.jpg: bad"])


def context(seen: Mapping[str, int] | None = UNSEEN, text: str = "*Pets*") -> dict[str, Any]:
    return {"model": f"pet-unet {text}", "uri": text, "data": text, "seen": seen}


def lines(found: Analysis, about: dict[str, Any]) -> str:
    return "\n".join(console_lines(report_figures(found, **about)))


def markdown(found: Analysis, about: dict[str, Any]) -> str:
    return description(report_figures(found, **about))


def html(found: Analysis, about: dict[str, Any], pictures: Mapping[str, bytes] = PICTURES) -> str:
    return html_report(report_figures(found, **about), pictures)


def shown(page: str) -> str:
    """What a reader of a page sees."""
    return " ".join(unescape(re.sub(r"(?s)<style>.*</style>|<[^>]+>", " ", page)).split())


def test_the_page_is_whole_loads_nothing_and_holds_every_picture_with_words_for_it() -> None:
    text = html(SIX, context())
    assert text.startswith("<!DOCTYPE html>")
    begun, ended = (Counter(re.findall(tag, text)) for tag in (r"<(\w+)", r"</(\w+)>"))
    assert set(begun - ended) == {"meta", "img"}  # which have no end
    assert not ended - begun
    assert not {"script", "link", "iframe", "object", "base"} & set(begun)
    assert not re.search(r"https?://|url\(|@import|srcset|\bon\w+=", text)
    held = []
    for kind, content, about in re.findall(r'<img src="data:(.*?);base64,(.*?)" alt="(.*?)"', text):
        held.append((kind, base64.b64decode(content, validate=True)))
        assert "6 test images" in about
    kinds = {"png": "image/png", "jpg": "image/jpeg"}
    assert sorted(held) == sorted((kinds[name[-3:]], file) for name, file in PICTURES.items())
    assert "<img" not in html(SIX, context(), {})


def test_names_cannot_be_markup_and_what_data_is_may_have_its_own() -> None:
    found = analysis("pug_1", HOSTILE, problems=[HOSTILE])
    text = html(found, context({"val": 1}, HOSTILE))
    assert "<b>x" not in text
    # model in title and heading, address, data twice, problem; breed, image
    assert shown(text).count(HOSTILE) >= 8
    assert "|\u00a0&lt;b>x&lt;/b>\u00a0\u00a0|" in markdown(found, context(text=HOSTILE))
    text = html(found, context(text="the folder `a/b`, *Cats and Dogs*"))
    assert "the folder a/b, Cats and Dogs" in text


def test_the_worst_images_stand_first_in_the_page() -> None:
    table = html(SIX, context()).partition("Every image")[2]
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>', table)
    assert rows == ["Tabby_1", "pug_1", "Tabby_2", "pug_2", "&lt;b&gt;x&lt;/b&gt;", "Tabby_3"]
    assert "All 6 test images" in table
    # of the first one 8 of 32 pixels were found: Dice 16 / 40, IoU 8 / 32, accuracy 40 / 64
    first = table[table.index("Tabby_1") : table.index("pug_1")]
    assert re.findall(r">(0\.\d{3})<", first) == ["0.400", "0.250", "0.625", "0.200", "0.667"]


def test_metrics_have_the_promised_names_and_the_figures_of_the_analysis() -> None:
    metrics = SIX.metrics()
    names = "dice dice_low dice_high iou accuracy dice_pooled iou_pooled accuracy_pooled images "
    names += "pet_share floor_dice floor_accuracy dice_border_pet dice_border_background "
    names += "dice_border_ignore boundary_f calibration_error best_threshold dice_cat images_cat "
    names += "dice_dog images_dog"
    assert set(metrics) == {f"test/{name}" for name in names.split()}
    assert all(type(value) is float for value in metrics.values())
    hits = np.array([8, 12, 16, 20, 24, 28])
    dice = 2 * hits / (hits + 32)
    expected = {
        "dice": dice.mean(),
        "iou": (hits / 32).mean(),
        "accuracy": ((32 + hits) / 64).mean(),
        "dice_pooled": 2 * hits.sum() / (hits.sum() + 6 * 32),
        "floor_dice": 2 / 3,
        "floor_accuracy": 0.5,
        "pet_share": 0.5,
        "dice_dog": dice[[1, 3, 4]].mean(),
        "images": 6,
        "images_dog": 3,
        "boundary_f": 0.45,
        "best_threshold": 0.5,
    }
    assert {name: metrics[f"test/{name}"] for name in expected} == pytest.approx(expected)
    assert metrics["test/dice_low"] < metrics["test/dice"] < metrics["test/dice_high"]
    assert "test/dice_dog" not in analysis("Tabby_1").metrics()


def test_all_warn_where_the_figures_are_worth_less() -> None:
    good, poor = analysis(*(f"Tabby_{number}" for number in range(9))), analysis("Tabby_1")
    # the Dice of the poor one is 0.4, that of 'pet' everywhere 0.667
    for say in (lines, markdown, lambda *given: shown(html(*given))):
        assert "one of the 9 test images trained the model" in say(good, context())
        seen = say(good, context({"train": 3, "val": 1}))
        assert "seen 4 of the 9 test images before (3 trained it and 1 chose its epoch)" in seen
        assert "It is not known which images trained the model" in say(good, context(None))
        assert "The model is not above the trivial baselines" in say(poor, context())
        for word in ("Warning", "Beware", "trained it"):
            assert word not in say(good, context())
    assert " ." not in lines(poor, context(None))


def test_markdown_stays_short_and_its_tables_whole_whatever_the_names() -> None:
    names = [f"{'|*_`' * 20}{breed}_{n}" for breed in range(60) for n in range(2)]
    long = analysis(*names, problems=["x"] * 90)
    for text in (markdown(long, context({"val": 7}, "m" * 5000)), markdown(SIX, context())):
        assert len(text) < 7000
        assert text.startswith("**Dice 0.")
        assert "`test/report.html`" in text
        tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
        assert len(tables) == 3
        for table in tables:
            assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1
    assert "... 48 more, see the report" in markdown(long, context())


def test_every_figure_says_on_how_many_images_it_rests() -> None:
    text = html(SIX, context())
    sections = re.split("<h2>", text)
    captions = re.findall(r'<p class="soft">(.*?)</p>', text, re.DOTALL)[1:]
    tiles = re.findall(r"<li><strong>(.*?)</li>", text, re.DOTALL)
    assert (len(sections), len(tiles)) == (7, 5)
    for part in (*sections, *captions, *tiles):
        assert "6 test images" in part
    assert "1 of 7 test images cannot be used and is left out" in shown(text)
    for line in lines(SIX, context()).splitlines():
        assert re.search(r"\b\d+ (test )?images?\b", line)
    for figure in plot_all(SIX).values():
        assert any("6 test images" in axes.get_title() for axes in figure.axes)
    for split, words in (("val", "1 validation image "), ("train", "1 training image ")):
        assert words in lines(analysis("Tabby_1", split=split), context())


def test_lines_name_the_worst_and_the_best_breed_that_have_enough_images() -> None:
    few = lines(SIX, context())
    assert re.search(r"Breeds: of 3 breeds the worst is pug 0\.\d+ \(2 images\), .* a hint", few)
    names = ["lone_1", *(f"Tabby_{n}" for n in range(5)), *(f"pug_{n}" for n in range(5))]
    many = lines(analysis(*names), context())
    assert re.search(r"worst is Tabby 0\.\d+ \(5 images\), the best pug 0\.\d+ \(5 images\)", many)
    assert "1 with fewer than 5 images not counted" in many
    assert "Breeds" not in lines(analysis("lone_1"), context())


@pytest.mark.parametrize("breeds", [1, 37])
def test_plots_of_few_and_of_many_breeds(breeds: int) -> None:
    names = [f"A$b$\\frac{breed}_{n}" for breed in range(breeds) for n in range(2)]
    drawn = plot_all(analysis(*names))
    assert set(drawn) == {name for name in PICTURES if name.endswith(".png")}
    for figure in drawn.values():
        assert encode_figure(figure).startswith(b"\x89PNG")
    axes = drawn["slices.png"].axes[0]
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert len(rows) == 1 + breeds
    assert sum("2 images" in row for row in rows) >= breeds


def test_the_calibration_plot_says_the_share_of_pixels_in_each_bin() -> None:
    (axes,) = plot_all(SIX)["calibration.png"].axes
    # 108 of 384 pixels have 0.8, all of them pet; of the 276 with 0.1 the other 84 pets
    assert [text.get_text() for text in axes.texts] == ["72%", "28%"]
    model = axes.get_lines()[1]
    assert np.asarray(model.get_xdata()).tolist() == pytest.approx([0.1, 0.8])
    assert np.asarray(model.get_ydata()).tolist() == pytest.approx([84 / 276, 1])
    expected = (276 * (84 / 276 - 0.1) + 108 * 0.2) / 384
    assert f"{expected:.3f}" in axes.get_title()
