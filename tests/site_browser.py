# SPDX-License-Identifier: MIT
"""A real browser for the tests of the page, and what went wrong in it."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def started_browser() -> Iterator[Any]:
    """Debian's chromium; the test is skipped where it is not installed."""
    if CHROMIUM is None:
        pytest.skip("Debian's chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


def axe_source() -> str:
    """axe-core, from the package that runs it in Playwright; the test is skipped where that is not."""
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        pytest.skip("axe-core is not there: pip install axe-playwright-python")
    return (Path(found.origin).parent / "axe.min.js").read_text("utf-8")


class Visit:
    """A page with all that went wrong on it."""

    def __init__(self, browser: Any, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog {dialog.message}"))

    def names(self, table: str = "table.ranking") -> list[str]:
        """Where the shown rows of a table lead, in order."""
        links = self.page.locator(f"{table} tbody tr:not([hidden]) .model > a")
        return [Path(href).stem for href in links.evaluate_all("all => all.map(a => a.href)")]

    def leave(self, site: Path) -> None:
        """Closes the page and checks that it asked for nothing outside and that nobody complained."""
        self.context.close()
        outside = [url for url in self.requests if not url.startswith(f"file://{site}/")]
        assert outside == [], "a request left the site"
        assert self.complaints == [], "the browser complained"
