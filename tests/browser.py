"""A headless Chromium for pages: what they ask of the network, what they complain of, what is to be seen."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = ("--disable-gpu", "--no-sandbox", "--disable-background-networking", "--disable-component-update")


@dataclass
class Opened:
    """A page that was opened, and what it did."""

    page: Any
    """Playwright's page."""
    asked: list[str] = field(default_factory=list)
    """Addresses of all requests but that of the page itself."""
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings in the browser's console, and exceptions."""

    @property
    def pictures(self) -> list[dict[str, Any]]:
        """Each picture's natural width and alternative text; all have been scrolled to."""
        self.page.evaluate("document.querySelectorAll('img').forEach((image) => { image.loading = 'eager'; })")
        self.page.wait_for_function("[...document.images].every((image) => image.complete)")
        found: list[dict[str, Any]] = self.page.evaluate(
            "[...document.images].map((image) => ({width: image.naturalWidth, alt: image.getAttribute('alt')}))"
        )
        return found

    def table(self, region: str) -> list[list[str]]:
        """Return the cells of the table in the region of this name, headings included."""
        rows = self.page.locator(f'[role=region][aria-label="{region}"] tr').all()
        return [[cell.inner_text().strip() for cell in row.locator("th, td").all()] for row in rows]

    def is_wider_than_its_window(self) -> bool:
        """Say whether a reader would have to scroll sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > window.innerWidth"))


@contextmanager
def browser() -> Iterator[Any]:
    """Start Chromium, or skip the test, saying so."""
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        path = next((found for name in NAMES if (found := shutil.which(name))), None)
        try:
            chromium = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        except Error:
            pytest.skip("no Chromium is here: install the system's chromium, or `playwright install chromium`")
        yield chromium
        chromium.close()


def open_page(chromium: Any, path: Path, width: int = 1280, height: int = 900, scheme: str = "light") -> Opened:
    """Open a file; it must not wait for anything."""
    page = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    opened = Opened(page)
    page.on("request", lambda request: opened.asked.append(request.url))
    page.on("console", lambda message: opened.complaints.append(message.text))
    page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    page.goto(path.as_uri())
    own = path.as_uri()
    opened.asked = [url for url in opened.asked if url != own and not url.startswith("data:")]
    return opened


def look_at_report(page: Path, classes: int) -> None:
    """See that a report is small, whole, and shows what networks looked at."""
    assert page.stat().st_size < 15e6
    text = page.read_text()
    assert "There are no attention maps" not in text
    assert "the file is gone" not in text
    assert text.count('class="row"') == 5 * classes
    assert text.count('class="map"') > 20
    with browser() as chromium:
        opened = open_page(chromium, page)
        assert opened.asked == opened.complaints == []
        assert all(picture["width"] > 0 for picture in opened.pictures)
        assert not open_page(chromium, page, 390, 800).is_wider_than_its_window()
