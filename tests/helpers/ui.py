"""`mlflow ui` and a browser of the tests' own: on loopback, gone afterwards."""

import contextlib
import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.programs import Program

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page

# So long may a page take to show something, in milliseconds: one worker answers all requests.
_PATIENCE = 60_000
#: What MLflow calls a chart.
CARD = "experiment-view-compare-runs-card"


@contextlib.contextmanager
def serving(program: Program) -> Iterator[str]:
    """Show the store of `program` in a UI; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "ui", "--port", str(port), "--workers", "1"]
    # Without this it starts a process for jobs too: twice the time, three times the memory.
    environment = program.environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
    log = program.folder / "ui.log"
    with log.open("w") as out:
        server = subprocess.Popen(
            [*command, "--backend-store-uri", program.store],
            cwd=program.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,  # its workers are processes of their own
        )
    try:
        _wait_until_it_listens(server, port, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


@contextlib.contextmanager
def browsing() -> Iterator["Browser"]:
    """Start Debian's Chromium, without a window; yield it."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("these tests need Chromium: apt-get install chromium")
    try:
        from playwright.sync_api import expect as assertions
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.fail("these tests need Playwright: pip install -e '.[dev]'")
    assertions.set_options(timeout=_PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        yield browser
        browser.close()


@dataclasses.dataclass
class Visitor:
    """A person whose browser was never here; pictures of what they saw go to a folder.

    Attributes:
        browser: theirs.
        address: of the UI.
        folder: for the pictures.
        errors: what scripts of the pages threw and nobody caught.
    """

    browser: "Browser"
    address: str
    folder: Path
    errors: list[str] = dataclasses.field(default_factory=list)

    def __enter__(self) -> "Visitor":
        self.context: BrowserContext = self.browser.new_context(
            viewport={"width": 2000, "height": 1400}
        )
        self.context.set_default_timeout(_PATIENCE)
        self.context.on("weberror", lambda error: self.errors.append(str(error.error)))
        return self

    def __exit__(self, *_: object) -> None:
        for number, page in enumerate(self.context.pages):
            # The last state of each, whether the test failed or not.
            self.picture(page, f"end-{number}")
        self.context.close()

    def open(self, path: str) -> "Page":
        """Open a page in a tab of its own, given what comes after `#` in its address."""
        page = self.context.new_page()
        page.goto(f"{self.address}/#{path}")
        return page

    def follow(self, link: "Locator") -> "Page":
        """Click on a link that opens a tab; return that."""
        with self.context.expect_page() as opened:
            link.click()
        return opened.value

    def picture(self, page: "Page", name: str) -> None:
        """Keep what a page shows now."""
        page.screenshot(path=self.folder / f"{name}.png")


def expect(what: "Locator") -> Any:
    """Return what can be expected of a part of a page, soon if not now."""
    from playwright.sync_api import expect as playwrights  # as late as `browsing` needs it

    return playwrights(what)


def assert_pictures(images: "Locator", at_least: int = 1) -> None:
    """So many pictures or more are there, and not only as frames: each has loaded.

    MLflow shows a table in pages, of as many rows as the window has room for.
    """
    expect(images.nth(at_least - 1)).to_be_visible()
    for image in images.all():
        image.evaluate("image => image.decode()")
        assert image.evaluate("image => image.naturalWidth") > 0


def card(page: "Page", title: str) -> "Locator":
    """Return the chart, or one of the charts, with a title."""
    heading = page.get_by_role("heading", name=title, exact=True)
    return page.get_by_test_id(CARD).filter(has=heading).first


def unfold(page: "Page") -> None:
    """Show the whole of a run's description."""
    page.get_by_text("Show more", exact=True).first.click()


def show_artifact(page: "Page", *path: str) -> None:
    """Click on folders and a file in the tree of artifacts."""
    for name in path:
        page.get_by_test_id("artifact-tree-node").get_by_text(name, exact=True).click()


def _wait_until_it_listens(server: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + 120
    while True:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), timeout=5),
        ):
            return
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
