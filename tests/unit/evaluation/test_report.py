"""What is said of an analysis: metrics, console lines, description, plots, a report to mail."""

import base64
import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from segmentation.data.oxford_pets import Example
from segmentation.evaluation.analysis import BORDERS, Analysis
from segmentation.evaluation.report.plots import plot_all, png
from segmentation.evaluation.report.report import (
    ReportContext,
    console_lines,
    description,
    html_report,
    report_figures,
)
from segmentation.evaluation.scoring import count_pixels
from segmentation.metrics.calibration import histogram
from segmentation.metrics.segmentation import join

HOSTILE = "<b>x</b>"
PICTURES = {
    **{f"{name}.png": name.encode() for name in ("threshold", "calibration", "scores", "slices")},
    "worst.jpg": b"the worst",
    "random.jpg": bytes(range(256)),
}
#: Elements that have no end.
VOID = {"meta", "img", "br"}


def examined(
    names: Sequence[tuple[str, str]], split: str = "test", problems: Sequence[str] = ()
) -> Analysis:
    """Made-up images of 64 pixels, half of them pet; the Dice of the images rises along them.

    Args:
        names: id and species of each.
        split: which images these are said to be.
        problems: of other images.
    """
    truth = np.repeat(np.array([[1], [0]], np.uint8), 32, axis=1)
    valid = np.ones_like(truth)
    counts, histograms = [], []
    for number in range(len(names)):
        found = 8 + 24 * number // len(names)
        answer = np.full(truth.shape, 0.1, np.float32)
        answer[0, :found] = 0.8
        counts.append(count_pixels(answer > 0.5, truth, valid))
        histograms.append(histogram(answer, truth, valid))
    joined = join(counts)
    return Analysis(
        split=split,
        border="pet",
        examples=tuple(
            Example(
                id=name,
                breed=name.rsplit("_", 1)[0],
                species=species,
                image=Path("image"),
                trimap=Path("trimap"),
            )
            for name, species in names
        ),
        digests=tuple("0" * 64 for _ in names),
        scores={
            "dice": joined.dice(),
            "iou": joined.iou(),
            "accuracy": joined.accuracy(),
            "boundary_f": np.linspace(0.2, 0.7, len(names)),
        },
        counts=dict.fromkeys(BORDERS, joined),
        histograms=tuple(histograms),
        problems=tuple(problems),
    )


def six(problems: Sequence[str] = ()) -> Analysis:
    """Six images with Dice 0.4, 0.55, 0.67, 0.77, 0.86 and 0.93."""
    pets = [("Tabby_1", "cat"), ("pug_1", "dog"), ("Tabby_2", "cat"), ("pug_2", "dog")]
    return examined([*pets, (HOSTILE, "dog"), ("Tabby_3", "cat")], problems=problems)


#: Nothing of the images was seen before.
UNSEEN = {"train": 0, "val": 0}


def about(
    seen: Mapping[str, int] | None = UNSEEN, data: str = "*Pets*, licence `X`"
) -> ReportContext:
    return ReportContext(model="pet-unet version 3", uri="models:/pet-unet/3", data=data, seen=seen)


def lines(found: Analysis, context: ReportContext) -> list[str]:
    return console_lines(report_figures(found, context))


def markdown(found: Analysis, context: ReportContext) -> str:
    return description(report_figures(found, context))


def page(found: Analysis, context: ReportContext, pictures: Mapping[str, bytes]) -> str:
    return html_report(report_figures(found, context), pictures)


class Page(HTMLParser):
    """Reads a page and checks that what begins also ends."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_the_page_parses_and_loads_nothing() -> None:
    text = page(six(), about(), PICTURES)
    read = Page(text)
    assert text.startswith("<!DOCTYPE html>")
    assert {"charset": "utf-8"} in read.of("meta")
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in read.elements}
    assert not re.search(r"https?://|url\(|@import|srcset|\bon\w+=", text)
    assert {name for _, of in read.elements for name in of} <= {
        *("lang", "charset", "http-equiv", "content", "name", "class", "style", "scope", "colspan"),
        *("role", "tabindex", "aria-label", "src", "alt"),
    }
    assert all(of["src"] and of["src"].startswith("data:image/") for of in read.of("img"))


def test_the_page_holds_every_picture_as_it_was_given_with_words_for_it() -> None:
    images = Page(page(six(), about(), PICTURES)).of("img")
    held = []
    for of in images:
        kind, _, content = (of["src"] or "").partition(";base64,")
        held.append((kind, base64.b64decode(content, validate=True)))
        assert "6 test images" in (of["alt"] or "")
    kinds = {"png": "data:image/png", "jpg": "data:image/jpeg"}
    assert sorted(held) == sorted((kinds[name[-3:]], file) for name, file in PICTURES.items())
    assert Page(page(six(), about(), {})).of("img") == []


def test_names_cannot_be_markup() -> None:
    hostile = ReportContext(model=HOSTILE, uri=HOSTILE, data=HOSTILE, seen={"val": 1})
    text = page(six(problems=[HOSTILE]), hostile, PICTURES)
    assert "<b>x" not in text
    # model in title and heading, address, data twice, problem; breed (thrice), image
    assert text.count("&lt;b&gt;x&lt;/b&gt;") >= 8
    assert Page(text).text.count(HOSTILE) >= 8
    described = markdown(six(), hostile)
    assert HOSTILE in Page(page(six(), about(), {})).text
    assert "|\u00a0&lt;b>x&lt;/b>\u00a0\u00a0|" in described


def test_the_page_says_what_data_is_in_its_own_markup() -> None:
    text = page(six(), about(data="the folder `a*b*c`, *Cats and Dogs*, * 2 *"), {})
    assert "the folder <code>a*b*c</code>, <em>Cats and Dogs</em>, * 2 *" in text


def test_every_figure_says_on_how_many_images_it_rests() -> None:
    text = page(six(problems=["one.jpg: is empty"]), about(), PICTURES)
    sections = re.split("<h2>", text)
    assert len(sections) == 7
    for section in sections:
        assert "6 test images" in section
    for caption in re.findall(r'<p class="soft">(.*?)</p>', text, re.DOTALL)[1:]:
        assert "6 test images" in caption, caption
    for tile in re.findall(r"<li><strong>(.*?)</li>", text, re.DOTALL):
        assert "6 test images" in tile, tile
    assert "1 of 7 test images cannot be used and is left out" in text
    said = lines(six(), about())
    assert all(re.search(r"\b\d+ (test )?images?\b", line) for line in said), said
    for figure in plot_all(six()).values():
        titles = [axes.get_title() for axes in figure.axes] + [figure.get_suptitle()]
        assert any("6 test images" in title for title in titles), titles


@pytest.mark.parametrize(("split", "words"), [("val", "2 validation"), ("train", "2 training")])
def test_other_splits_are_called_by_their_names(split: str, words: str) -> None:
    found = examined([("Tabby_1", "cat"), ("Tabby_2", "cat")], split)
    assert f"{words} images" in lines(found, about())[0]


def test_all_images_stand_in_the_page_the_worst_first() -> None:
    text = page(six(), about(), {})
    table = text[text.index("Every image") :]
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>', table)
    escaped = "&lt;b&gt;x&lt;/b&gt;"
    assert rows == ["Tabby_1", "pug_1", "Tabby_2", "pug_2", escaped, "Tabby_3"]
    assert "All 6 test images" in table
    # of the first one 8 of 32 pixels were found: Dice 16 / 40, IoU 8 / 32, accuracy 40 / 64
    first = table[table.index("Tabby_1") : table.index("pug_1")]
    assert re.findall(r">(0\.\d{3})<", first) == ["0.400", "0.250", "0.625", "0.200", "0.667"]


def test_of_very_many_images_the_worst_500_stand_in_the_page() -> None:
    found = examined([(f"Tabby_{number}", "cat") for number in range(612)])
    text = page(found, about(), {})
    table = text[text.index("Every image") :]
    assert "The worst 500 of 612 test images" in table
    assert table.count('<th scope="row">') == 500
    assert "Tabby_0<" in table
    assert "Tabby_611<" not in table


def test_metrics_have_the_promised_names_and_the_figures_of_the_examination() -> None:
    found = six()
    named = found.metrics()
    names = "dice dice_low dice_high iou accuracy dice_pooled iou_pooled accuracy_pooled images "
    names += "pet_share floor_dice floor_accuracy dice_border_pet dice_border_background "
    names += "dice_border_ignore boundary_f calibration_error best_threshold dice_cat images_cat "
    names += "dice_dog images_dog"
    assert set(named) == {f"test/{name}" for name in names.split()}
    assert all(type(value) is float for value in named.values())
    hits = np.array([8, 12, 16, 20, 24, 28])
    dice = 2 * hits / (hits + 32)
    assert named["test/dice"] == pytest.approx(dice.mean())
    assert named["test/dice_low"] < named["test/dice"] < named["test/dice_high"]
    assert named["test/iou"] == pytest.approx((hits / 32).mean())
    assert named["test/accuracy"] == pytest.approx(((32 + hits) / 64).mean())
    assert named["test/dice_pooled"] == pytest.approx(2 * hits.sum() / (hits.sum() + 6 * 32))
    assert named["test/floor_dice"] == pytest.approx(2 / 3)
    assert named["test/floor_accuracy"] == named["test/pet_share"] == pytest.approx(0.5)
    assert named["test/dice_cat"] == pytest.approx(dice[[0, 2, 5]].mean())
    assert (named["test/images"], named["test/images_cat"], named["test/images_dog"]) == (6, 3, 3)
    assert named["test/boundary_f"] == pytest.approx(0.45)
    assert named["test/best_threshold"] == 0.5
    assert "test/dice_dog" not in examined([("Tabby_1", "cat")]).metrics()


def test_lines_warn_where_the_figures_are_worth_less() -> None:
    good = examined([(f"Tabby_{number}", "cat") for number in range(90, 100)])
    unseen, seen, unknown = (
        "\n".join(lines(good, about(seen))) for seen in (UNSEEN, {"train": 3, "val": 1}, None)
    )
    assert "none of the 10 test images trained the model" in unseen
    assert "Warning" not in unseen
    assert "has seen 4 of the 10 test images before (3 trained it and 1 chose its epoch)" in seen
    assert "Warning: It is not known which images trained the model" in unknown
    poor = examined([("Tabby_1", "cat")])  # its Dice is 0.4, that of 'pet' everywhere 0.667
    assert "Warning: The model is not above the trivial baselines" in "\n".join(
        lines(poor, about())
    )
    context = about({"train": 1})
    for told in (markdown(poor, context), Page(page(poor, context, {})).text):
        assert "not above the trivial baselines" in told
        assert "has seen 1 of the 1 test image before" in told


def test_lines_name_the_worst_and_the_best_breed_that_have_enough_images() -> None:
    few = next(line for line in lines(six(), about()) if line.startswith("Breeds"))
    assert "of 3 breeds the worst is pug" in few
    assert "(2 images)" in few
    assert "a hint" in few
    names = [("lone_1", "dog")] + [(f"Tabby_{n}", "cat") for n in range(5)]
    names += [(f"pug_{n}", "dog") for n in range(5)]
    many = next(line for line in lines(examined(names), about()) if line.startswith("Breeds"))
    assert re.search(r"worst is Tabby 0\.\d+ \(5 images\), the best pug 0\.\d+ \(5 images\)", many)
    assert "1 with fewer than 5 images not counted" in many
    assert not any(line.startswith("Breeds") for line in lines(examined(names[:1]), about()))


def test_markdown_stays_short_and_its_tables_whole_whatever_the_names() -> None:
    names = [(f"{'|*_`' * 20}{breed}_{n}", "dog") for breed in range(60) for n in range(2)]
    long = ReportContext(model="m" * 5000, uri="u" * 5000, data="d" * 5000, seen={"val": 7})
    for found, said in ((examined(names, problems=["x"] * 90), long), (six(), about())):
        text = markdown(found, said)
        assert len(text) < 7000
        assert text.startswith("**Dice 0.")
        tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
        assert len(tables) == 3
        for table in tables:
            assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1
    assert "... 48 more, see the report" in markdown(examined(names), long)
    assert "`test/report.html`" in markdown(six(), about())


@pytest.mark.parametrize("breeds", [1, 2, 37, 200])
def test_plots_of_few_and_of_many_breeds(breeds: int) -> None:
    names = [(f"a$b$\\frac{breed}_{n}", "cat") for breed in range(breeds) for n in range(2)]
    drawn = plot_all(examined(names))
    assert set(drawn) == {name for name in PICTURES if name.endswith(".png")}
    for figure in drawn.values():
        assert png(figure).startswith(b"\x89PNG")
    axes = drawn["slices.png"].axes[0]
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert len(rows) == 1 + min(breeds, 60)
    assert ("the lowest 60 of 200" in drawn["slices.png"].get_suptitle()) == (breeds == 200)
    assert sum("2 images" in text.get_text() for text in axes.texts) >= min(breeds, 60) - 1


def test_the_calibration_plot_tells_the_share_of_pixels_in_each_bin() -> None:
    above, below = plot_all(six())["calibration.png"].axes
    # 108 of 384 pixels have 0.8, all of them pet; of the 276 with 0.1 the other 84 pets
    assert [text.get_text() for text in below.texts] == ["72 %", "28 %"]
    model = above.get_lines()[1]
    assert np.asarray(model.get_xdata()).tolist() == pytest.approx([0.1, 0.8])
    assert np.asarray(model.get_ydata()).tolist() == pytest.approx([84 / 276, 1])
    expected = (276 * (84 / 276 - 0.1) + 108 * 0.2) / 384
    assert f"{expected:.3f}" in above.get_title()
