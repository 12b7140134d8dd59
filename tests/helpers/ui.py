"""A browser of the tests' own, and what they look for on MLflow's pages."""

import contextlib
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

# So long may a page take to show something, in milliseconds: one worker answers all requests.
PATIENCE = 60_000
#: What MLflow calls a chart.
CARD = "experiment-view-compare-runs-card"


@contextlib.contextmanager
def browsing() -> Iterator[Browser]:
    """Start Debian's Chromium, without a window; yield it."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("these tests need Chromium: apt-get install chromium")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        yield browser
        browser.close()


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


def unfold(page: Page) -> None:
    page.get_by_text("Show more", exact=True).first.click()


def show_artifact(page: Page, *path: str) -> None:
    """Click on folders and a file in the tree of artifacts."""
    page.get_by_role("tab", name="Artifacts").click()
    for name in path:
        page.get_by_test_id("artifact-tree-node").get_by_text(name, exact=True).click()


def expect_columns(page: Page, *columns: str) -> None:
    for column in columns:
        header = page.get_by_role("columnheader").get_by_text(column, exact=True)
        expect(header).to_be_visible()
