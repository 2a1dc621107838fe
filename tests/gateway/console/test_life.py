"""One adapter's whole life in a real browser: rows, a job, what it came to, two persons, its use.

The tenant sends rows, trains, compares, and asks that the result be `prod`; it may not approve that
itself. A person whom a real issuer names comes in by the issuer, and approves. Then it is used by
its name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from adapterworks.gateway.tokens.roles import Role
from adapterworks.gateway.tokens.tokens import Tokens
from adapterworks.manifests.errors import NotFound
from adapterworks.registry.bases.base import Base
from adapterworks.registry.lifecycle.protection import Rule, Settings
from tests.gateway.conftest import open_registry
from tests.gateway.console.chromium import CHROMIUM, Visitor, chromium
from tests.gateway.console.test_in_chromium import worker
from tests.gateway.files.test_files import ROWS
from tests.gateway.jobs_support import House, move_in
from tests.gateway.registry_http.test_issuer import table
from tests.gateway.running import Launcher, Loop
from tests.issuers import RealIssuer, real_issuer

__all__ = ["worker"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]


@pytest.fixture
def issuer() -> Iterator[RealIssuer]:
    with real_issuer() as running:
        yield running


@pytest.fixture
def house(loop: Loop, base: Base, issuer: RealIssuer, tmp_path: Path) -> Iterator[House]:
    """A gateway where `prod` of what tenants make moves by two persons only."""
    launcher, registry = Launcher(loop), open_registry(tmp_path / "registry")
    house = move_in(launcher, registry, base, tmp_path, offered=True, oidc=table(issuer))
    Tokens(registry.database).grant("acme", Role.PROMOTER, who="tester")
    rule = Rule(names=("ft.*",), approvals=1)
    registry.protection.keep(Settings(aliases={"prod": rule}), who="tester")
    yield house
    launcher.close()


def trained(me: Visitor, house: House) -> str:
    """Rows become a job, and the job a release; returns its ref."""
    page = me.page
    me.go("/files")
    file = {"name": "rows.jsonl", "mimeType": "application/jsonl", "buffer": ROWS}
    page.get_by_label("File (JSON Lines)").set_input_files(files=[file])  # type: ignore[list-item]
    page.get_by_role("button", name="Send a file").click()
    page.get_by_role("status").get_by_role("link", name="Train on it").click()
    page.get_by_label("Name of the result").fill("life-slow")
    page.get_by_role("button", name="Begin a job").click()
    page.wait_for_url("**/jobs/ftjob-*")
    page.wait_for_selector("h1 .job-running")
    page.wait_for_selector("figure.chart svg polyline", state="attached")
    me.look("life-1-watched")
    (house.registry.home / f"go-{page.url.rpartition('/')[2]}").touch()
    page.wait_for_selector("h1 .job-succeeded", timeout=120_000)
    return page.locator(".done code").inner_text()


def answers(page: Page, question: str) -> list[str]:
    """What the playground's columns say to a question."""
    page.get_by_label("Question").fill(question)
    page.get_by_role("button", name="Ask").click()
    page.wait_for_selector("button.main:not(:disabled)")
    return page.locator("#answers [data-slot=text]").all_inner_texts()


def test_from_rows_to_what_two_persons_let_everybody_use(
    house: House, worker: None, issuer: RealIssuer, tmp_path: Path
) -> None:
    with chromium() as browser:
        me = Visitor.of(browser, house.running.url, tmp_path, locale="en-GB")
        page = me.page
        me.log_in(house.keys["acme"])
        made = trained(me, house)
        name = made.partition("@")[0]
        page.get_by_role("link", name="Compare it with its base").click()
        assert len(answers(page, "hello?")) == 2
        me.look("life-2-compared")

        me.go(f"/adapters/{name}")
        page.get_by_label("New alias").fill("prod")
        page.get_by_role("button", name="Promote …").last.click()
        page.wait_for_url("**/move?*")
        page.get_by_label("Why").fill("better than its base")
        me.look("life-3-asked")
        page.get_by_role("button", name="Ask for it").click()
        page.wait_for_url("**/console/requests")
        me.look("life-4-waits")
        page.get_by_role("button", name="Approve").click()
        page.wait_for_selector("[role=alert]")
        me.look("life-5-not-by-oneself")
        assert "422" in me.complaints.pop(), "the refusal itself, which the browser notes"
        with pytest.raises(NotFound):
            house.registry.resolve(f"{name}:prod")

        other = Visitor.of(browser, house.running.url, tmp_path, locale="en-GB")
        seen = other.page
        other.go("/requests")
        other.look("life-6-login")
        seen.get_by_role("link", name="Log in with localhost").click()
        seen.get_by_role("button", name="ben", exact=True).click()
        seen.wait_for_url("**/console/requests")
        other.complaints.clear()  # the issuer's own page wants a style sheet from elsewhere
        other.look("life-7-another-person")
        assert "ben" in seen.locator("header").inner_text()
        seen.get_by_role("button", name="Approve").click()
        seen.wait_for_selector(".empty")
        assert house.registry.resolve(f"{name}:prod").version == 1
        other.go(f"/adapters/{name}")
        assert "ben" in seen.locator("main").inner_text()
        other.look("life-8-moved")

        me.go(f"/playground?model={name}")
        assert all(answers(page, "hello?"))
        shown = page.locator("#answers [data-slot=release]").first.get_attribute("title")
        assert shown == house.registry.resolve(made).digest
        me.look("life-9-used")
        assert me.complaints == other.complaints == []
