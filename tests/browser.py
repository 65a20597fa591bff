"""A real Chromium, the system's own, without a window; what its console says is kept."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Page

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, until the block is left. Skips the test where there is none."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium is on this machine (Debian: apt-get install chromium)")
    # Without its sandbox, which root cannot have; it sees our own pages only.
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=found, args=["--no-sandbox"]) as browser,
    ):
        yield browser


def console_of(page: Page) -> list[str]:
    """Errors and warnings, as they come."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    return said


@contextmanager
def tab(browser: Browser, **options: Any) -> Iterator[tuple[Page, list[str]]]:  # noqa: ANN401
    """A page with cookies of its own, and what its console says; the options are those of a context."""
    context: BrowserContext = browser.new_context(**options)
    try:
        page = context.new_page()
        yield page, console_of(page)
    finally:
        context.close()
