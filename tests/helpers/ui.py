"""A browser of the tests' own."""

import contextlib
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

# So long may a page take to show something, in milliseconds: one worker answers all requests.
PATIENCE = 60_000


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
