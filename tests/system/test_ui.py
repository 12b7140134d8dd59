"""`mlflow ui` as a person sees it who opens it for the first time: the face of this project."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import mlflow
import pytest
from mlflow.entities import Run

from segmentation.tracking.logging.callback import SAMPLES
from tests.helpers.programs import TINY, Program
from tests.helpers.studies import TINY_SEARCH, Searched
from tests.helpers.ui import (
    CARD,
    Visitor,
    assert_pictures,
    browsing,
    card,
    expect,
    serving,
    show_artifact,
    unfold,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

# What it says of each pet changes while it trains, so that a slider has something to show.
TRAINING = {**TINY, "width": "8", "epochs": "8", "lr": "1e-2", "ema": "0"}
RUNS = "/experiments/0/runs"


@dataclasses.dataclass(frozen=True)
class Shown:
    """A store with a training and a search, and the UI that shows it.

    Attributes:
        program: whose store it is.
        address: of the UI.
        browser: to look at it.
        training: the run of `train`.
        search: the run of `tune`, in which its trials are nested.
    """

    program: Program
    address: str
    browser: "Browser"
    training: Run
    search: Run

    @property
    def client(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(self.program.store)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, pets: Path) -> Iterator[Shown]:
    folder = tmp_path_factory.mktemp("ui")
    program = Program(folder / "work", folder / "cache")
    with browsing() as browser:  # first: where it is missing, that is told at once
        for entry, options in (("train", TRAINING), ("tune", TINY_SEARCH)):
            done = program.entry(entry, **options, data=pets)
            assert done.returncode == 0, done.stderr
        parent = Searched(program).parent()
        client = mlflow.MlflowClient(program.store)
        (training,) = client.search_runs(["0"], "tags.`fit.reason` LIKE '%8 epochs%'")
        with serving(program) as address:
            yield Shown(program, address, browser, training, parent)


@pytest.fixture(scope="module")
def evaluated(shown: Shown, pets: Path) -> Run:
    """The run of an evaluation, on the test images, of the version that the training registered."""
    done = shown.program.entry("evaluate", model="models:/pet-unet/1", data=pets)
    assert done.returncode == 0, done.stderr
    (run,) = shown.client.search_runs(["0"], "attributes.run_name LIKE 'evaluate %'")
    return run


@pytest.fixture
def visitor(shown: Shown, tmp_path: Path) -> Iterator[Visitor]:
    with Visitor(shown.browser, shown.address, tmp_path) as person:
        yield person
    assert person.errors == []


def test_the_experiment_tells_what_its_runs_are_and_lists_their_scores(
    shown: Shown, visitor: Visitor
) -> None:
    page = visitor.open(RUNS)
    expect(page.get_by_text("Pets told from background")).to_be_visible()
    for run in (shown.training, shown.search):
        expect(page.get_by_role("link", name=str(run.info.run_name), exact=True)).to_be_visible()
    page.locator("[data-component-id='mlflow.experiment.metadata_editor.expand_button']").click()
    for told in ("training", "search", "evaluation", "promotion", "prediction"):
        expect(page.locator("strong", has_text=told)).to_be_visible()
    visitor.picture(page, "experiment")

    scores = visitor.follow(page.get_by_role("link", name="Scores", exact=True))
    for column in ("best/dice", "best/dice_low", "floor/dice_all_pet", "model.width"):
        header = scores.get_by_role("columnheader").get_by_text(column, exact=True)
        expect(header).to_be_visible()
    row = scores.locator(f"[row-id='{shown.training.info.run_id}']")
    score = f"{shown.training.data.metrics['best/dice']}"[:6]
    expect(row.locator("[col-id='metrics.`best/dice`']")).to_contain_text(score)
    expect(scores.get_by_test_id("saved-views-trigger")).to_have_text("Scores")
    visitor.picture(scores, "scores")


def test_the_charts_of_the_experiment_are_those_that_matter(visitor: Visitor) -> None:
    page = visitor.open(RUNS)
    charts = visitor.follow(page.get_by_role("link", name="charts", exact=True))
    expect(card(charts, "best/dice").locator(".barlayer path").first).to_be_visible()
    for title in ("val/dice", "train/loss vs val/loss"):
        expect(card(charts, title).locator("path.js-line").first).to_be_visible()
    pet = card(charts, "val/pet 1")
    pet.scroll_into_view_if_needed()
    assert_pictures(pet.locator("img"))
    expect(pet.locator("img").first).to_be_in_viewport()
    sections = charts.get_by_test_id("experiment-view-compare-runs-section-header")
    expect(sections.first).to_contain_text("Finished models")
    visitor.picture(charts, "charts")


def test_the_page_of_a_training_says_how_good_and_how_it_was_made(
    shown: Shown, visitor: Visitor
) -> None:
    page = visitor.open(f"{RUNS}/{shown.training.info.run_id}")
    dice = shown.training.data.metrics["best/dice"]
    expect(page.locator("strong", has_text=f"Dice {dice:.3f} (95 % interval")).to_be_visible()
    unfold(page)
    expect(page.get_by_text("Look at the charts")).to_be_visible()
    parameters = page.get_by_role("row").filter(has_text="model.width")
    expect(parameters).to_contain_text("8")
    expect(page.get_by_role("link", name="pet-unet").first).to_be_visible()
    visitor.picture(page, "training")


def test_a_training_has_curves_and_pictures_with_a_slider(shown: Shown, visitor: Visitor) -> None:
    page = visitor.open(f"{RUNS}/{shown.training.info.run_id}")
    page.get_by_role("tab", name="Model metrics").click()
    search = page.get_by_placeholder("Search metric charts")
    search.fill("train/")
    expect(card(page, "loss").locator("path.js-line").first).to_be_visible()
    visitor.picture(page, "curves")

    search.fill("val/")
    expect(card(page, "dice").locator("path.js-line").first).to_be_visible()
    pets = page.get_by_test_id(CARD).filter(has=page.locator("img"))
    expect(pets).to_have_count(SAMPLES)
    pet = card(page, pets.first.get_by_role("heading").inner_text())
    picture, slider = pet.locator("img"), pet.get_by_role("slider")
    assert_pictures(picture)
    seen = str(picture.get_attribute("src"))
    for step in ("1", "4", "8"):  # the epochs of which there are pictures, after the one before any
        slider.press("ArrowRight")
        expect(slider).to_have_attribute("aria-valuenow", step)
    expect(picture).to_have_attribute("src", re.compile(r"step%2B8%2B"))
    assert_pictures(picture)
    addresses = [urljoin(shown.address, one) for one in (seen, str(picture.get_attribute("src")))]
    first, last = (page.request.get(address).body() for address in addresses)
    assert first != last
    visitor.picture(page, "slider")

    # In the card MLflow's list of parameters pushes the picture out of sight; full-screen it is to
    # be seen only where the window is as tall as this one.
    pet.locator("[data-component-id='fullscreen_button_chartcard']").click()
    expect(page.get_by_role("dialog").locator("img")).to_be_in_viewport()
    visitor.picture(page, "full-screen")


def test_a_training_shows_its_worst_images_and_a_table_of_all(
    shown: Shown, visitor: Visitor
) -> None:
    page = visitor.open(f"{RUNS}/{shown.training.info.run_id}")
    page.get_by_role("tab", name="Artifacts").click()
    show_artifact(page, "val", "progress.jpg")
    assert_pictures(page.get_by_alt_text("val/progress.jpg"))
    visitor.picture(page, "progress")
    show_artifact(page, "worst.jpg")
    assert_pictures(page.get_by_alt_text("val/worst.jpg"))
    visitor.picture(page, "worst")

    show_artifact(page, "images.json")
    for column in ("photo, truth, prediction", "breed", "dice"):
        header = page.get_by_role("columnheader").get_by_text(column, exact=True)
        expect(header).to_be_visible()
    assert_pictures(page.get_by_role("cell").locator("img"), 4)
    visitor.picture(page, "table")


def test_a_search_reports_and_opens_its_trials(shown: Shown, visitor: Visitor) -> None:
    page = visitor.open(f"{RUNS}/{shown.search.info.run_id}")
    unfold(page)
    for heading in ("Confirmed", re.compile("^Leaders of the search")):
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
    visitor.picture(page, "report")

    page.get_by_role("tab", name="Model metrics").click()
    curve = card(page, "dice").locator(".trace.scatter").first
    expect(curve.locator(".points path")).to_have_count(int(TINY_SEARCH["trials"]))
    visitor.picture(page, "search")

    runs = visitor.open(RUNS)
    runs.locator(f"[row-id='{shown.search.info.run_id}'] button").first.click()
    for trial in range(int(TINY_SEARCH["trials"])):
        expect(runs.get_by_role("link", name=re.compile(f"^trial {trial}: "))).to_be_visible()
    visitor.picture(runs, "trials")


def test_a_search_has_plots_to_play_with(shown: Shown, visitor: Visitor) -> None:
    page = visitor.open(f"{RUNS}/{shown.search.info.run_id}")
    page.get_by_role("tab", name="Artifacts").click()
    show_artifact(page, "plots.html")
    plots = page.frame_locator("iframe").locator(".plotly-graph-div")
    expect(plots).to_have_count(6)
    for plot in plots.all():
        expect(plot.locator(".main-svg").first).to_be_visible()
    visitor.picture(page, "plots")


def test_the_model_and_its_version_say_what_they_are(shown: Shown, visitor: Visitor) -> None:
    newest = shown.client.get_registered_model("pet-unet").aliases["challenger"]
    page = visitor.open("/models/pet-unet")
    expect(page.get_by_text("Tells pet from background, pixel by pixel.")).to_be_visible()
    row = page.get_by_role("row").filter(has_text=f"Version {newest}")
    expect(row).to_contain_text("challenger")
    visitor.picture(page, "model")

    row.get_by_role("link", name=f"Version {newest}").click()
    expect(page.get_by_role("heading", name=f"Version {newest}")).to_be_visible()
    expect(page.get_by_text(re.compile(r"^@\s*challenger"))).to_be_visible()
    expect(page.get_by_text(re.compile(r"Dice 0\.\d{3} \(95 % interval")).first).to_be_visible()
    expect(page.locator("strong", has_text="Promotion.")).to_be_visible()
    visitor.picture(page, "version")

    page.get_by_role("link", name="model", exact=True).click()  # beside `Source Model:`
    expect(page.get_by_role("row").filter(has_text="best/dice_low")).to_be_visible()
    visitor.picture(page, "logged-model")


def test_an_evaluation_says_how_good_the_model_is_and_on_which_images(
    evaluated: Run, visitor: Visitor
) -> None:
    page = visitor.open(f"{RUNS}/{evaluated.info.run_id}")
    dice = evaluated.data.metrics["test/dice"]
    expect(page.locator("strong", has_text=f"Dice {dice:.3f} (95 % interval")).to_be_visible()
    unfold(page)
    expect(page.get_by_role("heading", name="By species and breed")).to_be_visible()
    expect(page.get_by_role("link", name="pet-unet").first).to_be_visible()
    visitor.picture(page, "evaluation")

    page.get_by_role("tab", name="Artifacts").click()
    show_artifact(page, "test", "report.html")
    report = page.frame_locator("iframe")
    expect(report.get_by_role("heading").first).to_contain_text("12 test images")
    visitor.picture(page, "report")

    for name in ("worst.jpg", "random.jpg"):
        show_artifact(page, name)
        assert_pictures(page.get_by_alt_text(f"test/{name}"))
    show_artifact(page, "images.json")
    assert_pictures(page.get_by_role("cell").locator("img"), 4)
    visitor.picture(page, "table")

    label = evaluated.data.params["evaluation.model"]  # pet-unet version N
    version = visitor.open(f"/models/pet-unet/versions/{label.rpartition(' ')[2]}")
    expect(version.locator("strong", has_text="On test.")).to_be_visible()
    expect(version.get_by_text(f"Dice {dice:.3f} (95 % interval").first).to_be_visible()
    visitor.picture(version, "evaluated-version")
