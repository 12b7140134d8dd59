"""`mlflow ui` as a person sees it who opens it for the first time: the face of this project."""

import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Run
from playwright.sync_api import Browser, Locator, Page, expect

from tests.helpers.programs import TINY, Program, opened_by_launcher
from tests.helpers.servers import TrackingServer
from tests.helpers.studies import TINY_SEARCH
from tests.helpers.ui import PATIENCE, browsing

pytestmark = pytest.mark.slow

TRAINING = {**TINY, "width": "8", "epochs": "8", "lr": "1e-2", "ema": "0"}
RUNS = "/#/experiments/0/runs"
#: What MLflow calls a chart.
CARD = "experiment-view-compare-runs-card"
Visit = Callable[[str], Page]


@dataclasses.dataclass(frozen=True)
class Shown:
    """A store with a search, a training and a refused command, and the UI that shows them."""

    client: mlflow.MlflowClient
    address: str
    browser: Browser
    training: Run
    search: Run
    refused: Run


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, pets: Path) -> Iterator[Shown]:
    program = Program.under(tmp_path_factory.mktemp("ui"))
    with browsing() as browser:  # first: where it is missing, that is told at once
        # The search first: of all runs the charts show the newest ten.
        for entry, options in (("tune", TINY_SEARCH), ("train", TRAINING)):
            assert program.entry(entry, **options, data=pets).returncode == 0
        client = program.client
        (training,) = client.search_runs(["0"], "tags.`fit.reason` LIKE '%8 epochs%'")
        refused = opened_by_launcher(client, **{"mlflow.project.entryPoint": "train"})
        program.refused(2, "train", MLFLOW_RUN_ID=refused, data=pets, width=0)
        with TrackingServer(program.folder) as server:
            (search,) = program.runs(stage="parent")
            yield Shown(client, server.uri, browser, training, search, client.get_run(refused))


@pytest.fixture
def visit(shown: Shown, tmp_path: Path) -> Iterator[Visit]:
    """Opens pages in a browser that was never here; the last state of each is kept."""
    context = shown.browser.new_context(viewport={"width": 2000, "height": 1400})
    context.set_default_timeout(PATIENCE)
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))

    def opened(path: str) -> Page:
        page = context.new_page()
        page.goto(shown.address + path)
        return page

    yield opened
    for number, page in enumerate(context.pages):
        page.screenshot(path=tmp_path / f"{number}.png")
    context.close()
    assert errors == []  # what scripts of the pages threw and nobody caught


def assert_pictures(images: Locator, at_least: int = 1) -> None:
    """So many pictures or more are there, and not only as frames: each has loaded.

    MLflow shows a table in pages, of as many rows as the window has room for.
    """
    expect(images.nth(at_least - 1)).to_be_visible()
    for image in images.all():
        image.evaluate("image => image.decode()")
        assert image.evaluate("image => image.naturalWidth") > 0


def card(page: Page, title: str) -> Locator:
    """Return the chart, or one of the charts, with a title."""
    heading = page.get_by_role("heading", name=title, exact=True)
    return page.get_by_test_id(CARD).filter(has=heading).first


def follow(page: Page, link: str) -> Page:
    """Click on a link that opens a tab; return that."""
    with page.expect_popup() as opened:
        page.get_by_role("link", name=link, exact=True).click()
    return opened.value


def show_artifact(page: Page, *path: str) -> None:
    """Click on folders and a file in the tree of artifacts."""
    page.get_by_role("tab", name="Artifacts").click()
    for name in path:
        page.get_by_test_id("artifact-tree-node").get_by_text(name, exact=True).click()


def expect_columns(page: Page, *columns: str) -> None:
    for column in columns:
        header = page.get_by_role("columnheader").get_by_text(column, exact=True)
        expect(header).to_be_visible()


def test_the_experiment_explains_its_runs_and_lists_scores(shown: Shown, visit: Visit) -> None:
    page = visit(RUNS)
    score = f"{shown.training.data.metrics['best/dice']:.4f}"
    assert str(shown.training.info.run_name).startswith(f"train {score} w8 lr0.01 ")
    expect(page.get_by_text("U-Nets that separate foreground")).to_be_visible()
    for name in (shown.training.info.run_name, shown.search.info.run_name, "train: refused"):
        expect(page.get_by_role("link", name=str(name), exact=True)).to_be_visible()
    page.locator("[data-component-id='mlflow.experiment.metadata_editor.expand_button']").click()
    for told in ("training", "search", "evaluation", "promotion", "prediction"):
        expect(page.locator("strong", has_text=told)).to_be_visible()

    scores = follow(page, "Scores")
    expect_columns(scores, "best/dice", "gate/dice", "width")
    row = scores.locator(f"[row-id='{shown.training.info.run_id}']")
    score = f"{shown.training.data.metrics['best/dice']}"[:6]
    expect(row.locator("[col-id='metrics.`best/dice`']")).to_contain_text(score)
    best = scores.locator("[col-id='metrics.`best/dice`'][role='gridcell']")
    figures = [float(text) for text in best.all_inner_texts() if text != "-"]
    assert figures == sorted(figures, reverse=True)
    expect(scores.get_by_role("link", name="train: refused", exact=True)).to_have_count(0)
    expect(scores.get_by_test_id("saved-views-trigger")).to_have_text("Scores")


def test_the_charts_of_the_experiment_are_those_that_matter(visit: Visit) -> None:
    charts = follow(visit(RUNS), "charts")
    charts.set_viewport_size({"width": 2000, "height": 2400})  # what is out of sight is not drawn
    expect(card(charts, "best/dice").locator(".barlayer path").first).to_be_visible()
    for title in ("val/dice", "train/loss vs val/loss"):
        expect(card(charts, title).locator("path.js-line").first).to_be_visible()
    pets = card(charts, "at a glance/pets").locator("img")
    assert_pictures(pets, 2)  # of several runs, side by side
    expect(pets.first).to_be_in_viewport()


def test_a_training_says_how_good_it_is_and_shows_images(shown: Shown, visit: Visit) -> None:
    page = visit(f"{RUNS}/{shown.training.info.run_id}")
    dice = shown.training.data.metrics["best/dice"]
    expect(page.locator("strong", has_text=f"Dice {dice:.3f} (95 % interval")).to_be_visible()
    page.get_by_text("Show more", exact=True).first.click()
    expect(page.get_by_text("says of eight pets")).to_be_visible()
    width = page.get_by_role("row").filter(has=page.get_by_text("width", exact=True))
    expect(width).to_contain_text("8")
    expect(page.get_by_role("link", name="pet-unet").first).to_be_visible()

    for path in (("val", "progress.jpg"), ("worst.jpg",)):
        show_artifact(page, *path)
        assert_pictures(page.get_by_alt_text(f"val/{path[-1]}"))
    show_artifact(page, "images.json")
    expect_columns(page, "photo, truth, prediction", "breed", "dice")
    assert_pictures(page.get_by_role("cell").locator("img"), 4)


def test_a_refused_command_says_why(shown: Shown, visit: Visit) -> None:
    page = visit(f"{RUNS}/{shown.refused.info.run_id}")
    expect(page.get_by_role("heading", name="train: refused")).to_be_visible()
    expect(page.get_by_text("width=0: ").first).to_be_visible()
    expect(page.get_by_text("-e train --env-manager local").first).to_be_visible()


def test_masks_and_curves_come_first_among_a_trainings_metrics(shown: Shown, visit: Visit) -> None:
    page = visit(f"{RUNS}/{shown.training.info.run_id}")
    page.set_viewport_size({"width": 1440, "height": 900})
    page.get_by_role("tab", name="Model metrics").click()
    for title in ("at a glance/pets", "at a glance/curves"):
        picture = card(page, title).locator("img")
        assert_pictures(picture)
        expect(picture).to_be_in_viewport(ratio=0.1)  # MLflow puts all params above it
        assert picture.evaluate("image => image.width") > 200
    for kind, curve in (("train/", "loss"), ("val/", "dice")):
        page.get_by_placeholder("Search metric charts").fill(kind)
        expect(card(page, curve).locator("path.js-line").first).to_be_visible()


def test_a_search_reports_and_opens_its_trials(shown: Shown, visit: Visit) -> None:
    page = visit(f"{RUNS}/{shown.search.info.run_id}")
    page.get_by_text("Show more", exact=True).first.click()
    for heading in ("Confirmed", re.compile("^Leaders of the search")):
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
    page.get_by_role("tab", name="Model metrics").click()
    curve = card(page, "dice").locator(".trace.scatter").first
    expect(curve.locator(".points path")).to_have_count(int(TINY_SEARCH["trials"]))
    show_artifact(page, "plots.html")
    plots = page.frame_locator("iframe").locator(".plotly-graph-div")
    expect(plots.nth(2)).to_be_visible()  # of more trials there are more
    for plot in plots.all():
        expect(plot.locator(".main-svg").first).to_be_visible()

    runs = visit(RUNS)
    runs.locator(f"[row-id='{shown.search.info.run_id}'] button").first.click()
    for trial in range(int(TINY_SEARCH["trials"])):
        expect(runs.get_by_role("link", name=re.compile(f"^trial {trial} "))).to_be_visible()


def test_the_model_and_its_version_say_what_they_are(shown: Shown, visit: Visit) -> None:
    newest = shown.client.get_registered_model("pet-unet").aliases["challenger"]
    page = visit("/#/models/pet-unet")
    expect(page.get_by_text("Tells pet from background, pixel by pixel.")).to_be_visible()
    row = page.get_by_role("row").filter(has_text=f"Version {newest}")
    expect(row).to_contain_text("challenger")

    row.get_by_role("link", name=f"Version {newest}").click()
    expect(page.get_by_role("heading", name=f"Version {newest}")).to_be_visible()
    expect(page.get_by_text(re.compile(r"^@\s*challenger"))).to_be_visible()
    expect(page.get_by_text(re.compile(r"Dice 0\.\d{3} \(95 % interval")).first).to_be_visible()
    expect(page.locator("strong", has_text="Promotion.")).to_be_visible()

    page.get_by_role("link", name="model", exact=True).click()  # beside `Source Model:`
    expect(page.get_by_role("row").filter(has_text="best/dice_low")).to_be_visible()
