"""The console's login with a real issuer: there and back, and no other way in."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from adapterworks.gateway.console.visit import SESSION
from adapterworks.registry.bases.base import Base
from tests.gateway.conftest import open_registry
from tests.gateway.console.browsing import Browser
from tests.gateway.jobs_support import House, move_in
from tests.gateway.registry_http.test_issuer import table
from tests.gateway.running import Launcher, Loop
from tests.issuers import RealIssuer, real_issuer


@pytest.fixture(scope="module")
def issuer() -> Iterator[RealIssuer]:
    with real_issuer() as running:
        yield running


@pytest.fixture(scope="module")
def house(
    loop: Loop, base: Base, issuer: RealIssuer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    launcher, folder = Launcher(loop), tmp_path_factory.mktemp("door")
    registry = open_registry(folder / "registry")
    yield move_in(launcher, registry, base, folder, offered=True, oidc=table(issuer))
    launcher.close()


def asked(browser: Browser) -> str:
    """The issuer's address to which the login page's link leads."""
    page = browser.get("/login?next=/console/adapters%3Fq%3Dtickets").text
    link = re.search(r'href="/console(/login/issuer[^"]*)"', page)
    assert link is not None
    sent = browser.get(html.unescape(link[1]))
    assert sent.status_code == 303, sent.text
    return sent.headers["location"]


def back(browser: Browser, address: str) -> httpx.Response:
    parts = urlsplit(address)
    return browser.get(f"{parts.path.removeprefix('/console')}?{parts.query}")


def test_a_person_comes_in_by_the_issuer(house: House, issuer: RealIssuer) -> None:
    with Browser(house.running.url) as browser:
        arrived = issuer.visit(asked(browser), "ben")
        assert arrived.startswith(house.running.url + "/console/login/callback?")
        welcome = back(browser, arrived)
        assert welcome.status_code == 200, welcome.text
        assert issuer.holds_pkce()
        assert 'content="0; url=/console/adapters?q=tickets"' in html.unescape(welcome.text)
        page = browser.get("/adapters")
        assert page.status_code == 200
        assert "ben" in page.text
        assert browser.get("/jobs").status_code != 200  # no tenant's key
        assert back(browser, arrived).status_code == 400, "an answer counts once"
        cookies = " ".join(f"{name}={value}" for name, value in browser.client.cookies.items())
        assert "eyJ" not in cookies
        browser.send("/logout")
        assert browser.get("/adapters").status_code == 303


def test_no_other_browser_comes_in_with_the_answer(house: House, issuer: RealIssuer) -> None:
    with Browser(house.running.url) as mine, Browser(house.running.url) as another:
        arrived = issuer.visit(asked(mine), "ben")
        assert back(another, arrived).status_code == 400
        asked(another)  # it has a question of its own, which this is no answer to
        assert back(another, arrived).status_code == 400
        assert another.get("/adapters").status_code == 303


def test_who_may_do_nothing_is_told_so(house: House, issuer: RealIssuer) -> None:
    with Browser(house.running.url) as browser:
        arrived = issuer.visit(asked(browser), "dee")
        answer = back(browser, arrived)
        assert answer.status_code == 403
        assert "may use nothing" in answer.text
        assert browser.get("/adapters").status_code == 303


def test_without_an_issuer_there_is_no_such_door(
    launcher: Launcher, base: Base, tmp_path: Path
) -> None:
    house = move_in(launcher, open_registry(tmp_path / "r"), base, tmp_path, offered=True)
    with Browser(house.running.url) as browser:
        assert browser.get("/login/issuer").status_code == 404
        assert "/login/issuer" not in browser.get("/login").text
    with house.running.http() as http:
        assert http.get("/.well-known/oauth-protected-resource").status_code == 404


def test_behind_a_proxy_with_tls_the_way_back_and_the_session_are_tls(
    house: House, issuer: RealIssuer
) -> None:
    with Browser(house.running.url) as browser:
        host = urlsplit(house.running.url).netloc
        sent = browser.get("/login/issuer", headers={"referer": f"https://{host}/console/login"})
        arrived = issuer.visit(sent.headers["location"], "ben")
        assert arrived.startswith(f"https://{host}/console/login/callback?")
        question = sent.headers["set-cookie"]
        assert "; secure" in question.lower()
        parts = urlsplit(arrived)
        welcome = browser.get(
            f"{parts.path.removeprefix('/console')}?{parts.query}",
            headers={"cookie": question.partition(";")[0], "referer": issuer.url},
        )
        assert welcome.status_code == 200, welcome.text
        (session,) = [
            one for one in welcome.headers.get_list("set-cookie") if one.startswith(f"{SESSION}=")
        ]
        assert "; secure" in session.lower()
        # Another site's page is no word on how the browser came here.
        plain = browser.get("/login/issuer", headers={"referer": "https://elsewhere.example/"})
        assert "redirect_uri=http%3A" in plain.headers["location"]
