"""Nobody gets to a page without a key, and no page of another site does anything here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route

from adapterworks.gateway.config.tables import ConsoleTable, GatewayConfig
from adapterworks.gateway.console.guard import POLICY
from adapterworks.gateway.console.sessions import Sessions
from adapterworks.gateway.console.visit import safe_next
from adapterworks.gateway.http.app import create_app
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.registry.bases.base import Base
from tests.gateway.console.browsing import OWN, Browser
from tests.gateway.jobs_support import House
from tests.gateway.running import Launcher, Start

ANYBODYS = {
    ("GET", "/login"), ("POST", "/login"), ("POST", "/logout"), ("POST", "/settings"),
    ("GET", "/login/issuer"), ("GET", "/login/callback"),  # without an issuer there is neither
}  # fmt: skip


def routes(house: House) -> Iterator[tuple[str, str]]:
    """Method and path of every page there is, its parameters filled in."""
    app = create_app(house.running.gateway)
    (mount,) = (r for r in app.routes if isinstance(r, Mount))
    console = mount.app
    assert isinstance(console, Starlette)
    for route in console.routes:
        yield from _of(route)


def _of(route: BaseRoute) -> Iterator[tuple[str, str]]:
    assert isinstance(route, Route)
    path = re.sub(r"{\w+(:path)?}", "anything", route.path)
    for method in sorted((route.methods or set()) - {"HEAD"}):
        yield method, path


def test_every_page_wants_a_login_and_every_answer_has_the_policy(house: House) -> None:
    pages = list(routes(house))
    assert len(pages) >= 20
    with Browser(house.running.url) as browser:
        for method, path in pages:
            answer = browser.client.request(method, "/console" + path, headers=OWN)
            assert answer.headers["content-security-policy"] == POLICY, path
            assert answer.headers["x-content-type-options"] == "nosniff", path
            if path == "/static/anything":
                assert answer.status_code == 404
            elif (method, path) not in ANYBODYS:
                assert answer.status_code == 303, (method, path)
                assert answer.headers["location"].startswith("/console/login"), path


def test_what_changes_something_is_a_form_of_this_session(house: House, acme: Browser) -> None:
    with Browser(house.running.url) as other:
        foreign = other.token()
    own = acme.token()
    for method, path in routes(house):
        if method != "POST":
            continue
        for headers, token in (
            ({"sec-fetch-site": "cross-site"}, own),
            ({"sec-fetch-site": "same-site"}, own),
            ({"origin": "http://evil.example"}, own),
            ({"origin": "null"}, own),
            ({}, own),
            (OWN, ""),
            (OWN, foreign),
            (OWN, own + "x"),
        ):
            data = {"form": token, "next": "/console/", "key": "x"}
            answer = acme.client.post("/console" + path, data=data, headers=headers)
            assert answer.status_code == 403, (path, headers)
            assert answer.headers["content-security-policy"] == POLICY
    assert acme.get("/").status_code == 200, "still logged in"


def test_an_older_browser_says_where_a_form_came_from(house: House, acme: Browser) -> None:
    host = house.running.url.removeprefix("http://")
    data = {"form": acme.token(), "lang": "zh", "next": "/console/jobs"}
    answer = acme.client.post("/console/settings", data=data, headers={"origin": f"http://{host}"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/jobs")
    assert 'lang="zh-Hans"' in acme.get("/").text


def test_the_cookie_is_signed_and_holds_no_key(house: House) -> None:
    key = house.keys["acme"]
    with Browser(house.running.url) as browser:
        before = browser.token()
        answer = browser.log_in(key)
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "Path=/console" in cookie
        assert "Max-Age=43200" in cookie
        assert "Secure" not in cookie, "this is no TLS"
        assert key not in cookie
        assert browser.token() != before, "another id than the visitor had"
        assert key not in browser.get("/").text
        value = browser.client.cookies["adapters_session"]
        name, _, signature = value.rpartition(".")
        flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
        for forged in (f"{name}.{flipped}", name, f"{name}x.{signature}", "", "x.y"):
            answer = httpx.get(
                house.running.url + "/console/", headers={"cookie": f"adapters_session={forged}"}
            )
            assert answer.status_code == 303


def test_by_tls_the_cookie_goes_by_tls_only(house: House) -> None:
    with Browser(house.running.url) as browser:
        data = {"form": browser.token(), "key": house.keys["acme"]}
        host = house.running.url.removeprefix("http://")
        headers = {**OWN, "origin": f"https://{host}"}
        answer = browser.client.post("/console/login", data=data, headers=headers)
        assert answer.status_code == 303
        assert "; Secure" in answer.headers["set-cookie"]


def test_who_logs_out_is_out_with_the_old_cookie_too(house: House, acme: Browser) -> None:
    old = acme.client.cookies["adapters_session"]
    assert acme.send("/logout").headers["location"] == "/console/login"
    answer = httpx.get(
        house.running.url + "/console/", headers={"cookie": f"adapters_session={old}"}
    )
    assert answer.headers["location"].startswith("/console/login")


def test_a_key_that_does_not_work_is_refused_in_the_apis_words(house: House) -> None:
    with Browser(house.running.url) as browser:
        for key in ("", "aw-nonsense", "схема", "a\nb"):
            answer = browser.log_in(key)
            assert answer.status_code == 401
            assert 'role="alert"' in answer.text
        assert browser.get("/").status_code == 303


def test_a_session_ends_with_its_key(house: House) -> None:
    admin = TenantAdmin(house.registry.database, who="tester")
    key = admin.add_key("acme")
    tenants = house.running.gateway.tenants
    assert tenants is not None
    tenants.refresh()
    with Browser(house.running.url) as browser:
        assert browser.log_in(key.text).status_code == 303
        assert browser.get("/").status_code == 200
        admin.revoke_key(key.id)
        tenants.refresh()
        assert browser.get("/").headers["location"].startswith("/console/login")
        assert browser.get("/files").status_code == 303


def test_a_session_ends_with_its_time_and_the_oldest_for_one_too_many() -> None:
    now = [1000.0]
    sessions = Sessions(60.0, most=2, now=lambda: now[0])
    first = sessions.log_in("a", frozenset())
    found = sessions.find(sessions.cookie(first))
    assert found == first
    now[0] += 59
    assert sessions.find(sessions.cookie(first)) == first
    now[0] += 1
    ended = sessions.find(sessions.cookie(first))
    assert ended is not None
    assert ended.key is None
    three = [sessions.log_in(key, frozenset()) for key in "abc"]
    keys = [found.key for s in three if (found := sessions.find(sessions.cookie(s)))]
    assert keys == [None, "b", "c"]
    assert Sessions(60.0).find(sessions.cookie(three[2])) is None, "another process signed it"


@pytest.mark.parametrize(
    "text",
    [
        "https://evil.example/console/",
        "//evil.example/console/",
        "/\\evil.example",
        "/console\\..\\x",
        "javascript:alert(1)",
        "/v1/models",
        "/consoles",
        "",
        "/console/\r\nset-cookie: a=b",
    ],
)
def test_a_form_leads_to_no_other_place(text: str) -> None:
    assert safe_next(text) == "/console/"


def test_a_form_leads_back_to_its_page() -> None:
    assert safe_next("/console/jobs?after=ftjob-1#x") == "/console/jobs?after=ftjob-1"


def test_beyond_loopback_there_is_none_unless_it_says_so() -> None:
    for host, enabled, there in (
        ("127.0.0.1", None, True),
        ("localhost", None, True),
        ("::1", None, True),
        ("0.0.0.0", None, False),
        ("10.0.0.1", None, False),
        ("0.0.0.0", True, True),
        ("127.0.0.1", False, False),
    ):
        config = GatewayConfig(host=host, console=ConsoleTable(enabled=enabled))
        assert config.has_console is there, host


def test_without_one_the_path_is_as_any_other(start: Start) -> None:
    running = start(console=ConsoleTable(enabled=False))
    for path in ("/console", "/console/", "/console/login"):
        answer = httpx.get(running.url + path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "path_not_found")


def test_no_other_name_for_this_machine_gets_in(house: House) -> None:
    for host, status in (
        ("127.0.0.1:9", 200),
        ("localhost", 200),
        ("[::1]:80", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
    ):
        answer = httpx.get(house.running.url + "/console/login", headers={"host": host})
        assert answer.status_code == status, host
        assert answer.headers["content-security-policy"] == POLICY


def test_an_open_gateway_lets_anybody_in_at_its_own_form(start: Start) -> None:
    running = start()
    with Browser(running.url) as browser:
        assert "no key is needed" in browser.get("/login").text
        assert browser.get("/").status_code == 303
        assert browser.log_in("").status_code == 303
        assert browser.get("/").status_code == 200


def test_static_files_are_those_there_are(house: House, launcher: Launcher, base: Base) -> None:
    with Browser(house.running.url) as browser:
        script = browser.get("/static/js/copy.js")
        assert script.headers["content-type"] == "text/javascript; charset=utf-8"
        again = browser.get("/static/js/copy.js", headers={"if-none-match": script.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        for name in ("../page.py", "..%2fpage.py", "%2e%2e/page.py", "js/", "", "js/none.js"):
            assert browser.get("/static/" + name).status_code == 404


def test_scripts_are_small_and_behave_by_themselves() -> None:
    """A script is a behaviour: found through attributes, with nothing that the policy forbids."""
    folder = Path(__file__).resolve().parents[3] / "gateway/console/static/js"
    sizes = {path.name: len(path.read_text().splitlines()) for path in folder.glob("*.js")}
    assert len(sizes) > 3
    assert max(sizes.values()) <= 120, sizes
    for path in folder.glob("*.js"):
        text = path.read_text()
        assert "innerHTML" not in text
        assert "eval(" not in text
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), path.name
