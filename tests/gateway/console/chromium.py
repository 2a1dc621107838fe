"""A real Chromium at the console, and what axe-core says of each page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SIZES = {390: 844, 1280: 900}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
# Where a person wants to look at the pictures: `CONSOLE_PICTURES=DIR`.
PICTURES = os.environ.get("CONSOLE_PICTURES")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser, headless; root has no sandbox."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        yield browser
        browser.close()


@dataclass
class Visitor:
    """One person's page: whatever its scripts or the policy complain of is kept."""

    page: Page
    url: str
    pictures: Path
    complaints: list[str]

    @classmethod
    def of(cls, browser: Browser, url: str, folder: Path, **options: Any) -> Visitor:
        """A visitor with cookies of its own."""
        page = browser.new_context(**options).new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda said: complaints.append(said.text) if said.type == "error" else None,
        )
        return cls(page, url, Path(PICTURES) if PICTURES else folder, complaints)

    def go(self, path: str) -> None:
        """To a page below `/console`."""
        self.page.goto(self.url + "/console" + path)

    def log_in(self, key: str) -> None:
        """Through the form."""
        self.go("/")
        self.page.get_by_label("Key", exact=True).fill(key)
        self.page.get_by_role("button", name="Enter").click()
        self.page.wait_for_url("**/console/")

    def look(self, name: str) -> None:
        """No violation and nothing wider than the screen, at both sizes, light and dark."""
        for width, height in SIZES.items():
            self.page.set_viewport_size({"width": width, "height": height})
            for scheme in SCHEMES:
                self.page.emulate_media(color_scheme=scheme)
                results = Axe().run(self.page)
                assert results.violations_count == 0, (
                    name,
                    width,
                    scheme,
                    results.generate_report(),
                )
                wide = self.page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, (name, width, wide)
                self.pictures.mkdir(parents=True, exist_ok=True)
                path = self.pictures / f"{name}-{width}-{scheme}.png"
                self.page.screenshot(path=path, full_page=True)
