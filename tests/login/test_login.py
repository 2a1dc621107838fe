"""`adapters login` with a real issuer, a real server, and a browser that does what it is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from adapterworks.app import App
from adapterworks.cli.main import cli
from adapterworks.gateway.config.tables import HttpTable
from adapterworks.gateway.http.app import create_registry_app
from adapterworks.gateway.http.routes.registry.desk import open_desk
from adapterworks.gateway.http.server import uvicorn_config
from adapterworks.login.flow import renewed
from adapterworks.login.store import Login, Logins
from adapterworks.manifests.errors import InvalidInput, Refused, Unavailable
from tests.gateway.registry_http.conftest import open_at
from tests.gateway.registry_http.test_issuer import table
from tests.gateway.running import Loop, serve
from tests.issuers import RealIssuer, real_issuer
from tests.registry.releases import publish


@pytest.fixture(scope="module")
def issuer() -> Iterator[RealIssuer]:
    with real_issuer() as running:
        yield running


@pytest.fixture(scope="module")
def servers(
    issuer: RealIssuer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """A registry with `medical`, whose server takes the issuer's persons; and one that does not."""
    loop, place = Loop(), tmp_path_factory.mktemp("served")
    with open_at(place) as registry:
        publish(registry, place, 1)
        served = []
        for oidc in (table(issuer), None):
            desk = open_desk(registry, None, HttpTable(), oidc)
            app = create_registry_app(desk)
            served.append(loop.run(serve(app, uvicorn_config(app, http=HttpTable()))))
        yield served[0].url, served[1].url
        for server in served:
            loop.run(server.stop())
        loop.close()


@pytest.fixture
def home(servers: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that knows the server's address and has no token."""
    monkeypatch.setenv("ADAPTERS_HOME", str(tmp_path))
    monkeypatch.setenv("ADAPTERS_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.setenv("ADAPTERS_REGISTRY", servers[0])
    monkeypatch.delenv("ADAPTERS_REGISTRY_TOKEN", raising=False)
    return tmp_path


def adapters(*words: str) -> str:
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def browser(
    monkeypatch: pytest.MonkeyPatch, issuer: RealIssuer, person: str, *, junk: bool = False
) -> None:
    """A person's browser, opened by the command; `junk`: another page knows the port, too."""

    def opened(address: str) -> bool:
        def visit() -> None:
            back = issuer.visit(address, person)
            if junk:
                url = httpx.URL(back)
                for wrong in ({"code": "stolen"}, {"code": "stolen", "state": "guessed"}):
                    assert httpx.get(url.copy_with(params=wrong)).status_code == 400
            assert httpx.get(back, timeout=30).status_code == 200

        threading.Thread(target=visit, daemon=True).start()
        return True

    monkeypatch.setattr("webbrowser.open", opened)


def test_a_login_opens_the_registry_until_it_is_forgotten(
    home: Path, issuer: RealIssuer, servers: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Refused):
        adapters("list")
    browser(monkeypatch, issuer, "ben", junk=True)
    assert f"logged in to {servers[0]}" in adapters("login")
    assert issuer.holds_pkce()
    assert "medical" in adapters("list")
    adapters("promote", "medical@1", "prod", "--expect", "none")
    assert "ben" in adapters("log", "medical:prod")
    kept = home / "logins.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    # Its token ends: another one is asked for, without the person; this issuer gives none.
    entry = json.loads(kept.read_text())
    entry[servers[0]]["expires"] = 0.0
    kept.write_text(json.dumps(entry))
    with pytest.raises(Refused, match="gives no token") as caught:
        adapters("list")
    assert "adapters login" in (caught.value.hint or "")
    renewals = [one["refresh_token"] for one in issuer.sent() if "refresh_token" in one]
    assert renewals == [entry[servers[0]]["renewal"]]
    assert "forgotten" in adapters("logout")
    with pytest.raises(Refused):
        adapters("list")


def test_a_person_without_a_group_is_told_so(
    home: Path, issuer: RealIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser(monkeypatch, issuer, "dee")
    adapters("login")
    with pytest.raises(Refused, match="none of the groups"):
        adapters("list")


def test_a_server_without_an_issuer_says_what_to_do(home: Path, servers: tuple[str, str]) -> None:
    with pytest.raises(InvalidInput, match="takes no logins") as caught:
        adapters("login", servers[1])
    assert "ADAPTERS_REGISTRY_TOKEN" in (caught.value.hint or "")


def test_a_command_that_lasts_shows_each_time_what_is_kept_then(
    home: Path, issuer: RealIssuer, servers: tuple[str, str]
) -> None:
    app, logins = App(), Logins(home)
    whom = []
    for person in ("ann", "cid"):
        login = Login(issuer.url, "adapters", issuer.url, time.time() + 600, issuer.token(person))
        logins.keep(servers[0], login)
        whom.append(app.registry.link.get("/me", dict)["name"])  # type: ignore[attr-defined]
    app.close()
    assert whom == ["ann", "cid"]


def test_a_renewal_is_used_once_by_commands_at_once(tmp_path: Path) -> None:
    def login(number: int, expires: float) -> Login:
        return Login("https://i", "c", "https://i/token", expires, f"t{number}", f"r{number}")

    used: list[str | None] = []

    def renew(old: Login) -> Login:
        used.append(old.renewal)
        return login(len(used), time.time() + 600)

    Logins(tmp_path).keep("https://r", login(0, 0.0))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: Logins(tmp_path).current("https://r", renew), range(8)))
    assert used == ["r0"]
    assert {one.token for one in found if one is not None} == {"t1"}


def test_an_issuer_that_is_busy_does_not_end_a_login() -> None:
    class Busy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(429)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        at = f"http://127.0.0.1:{server.server_port}/token"
        with pytest.raises(Unavailable, match="429"):
            renewed(Login(at, "c", at, 0.0, "t", "r"))


LOGIN = Login("https://issuer", "adapters", "https://issuer/token", 9e9, "token")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "",
        "[]",
        '{"https://here": "x"}',
        '{"https://here": {"token": "t"}}',
        '{"https://here": {"token": 1, "issuer": "i", "client_id": "c", "token_endpoint": "e", '
        '"expires": 1}}',
    ],
    ids=["cut off", "empty", "a list", "a text", "lacks", "types"],
)
def test_what_cannot_be_read_is_no_login(tmp_path: Path, text: str) -> None:
    """Whatever was left of it, commands say that there is none, and `login` and `logout` work."""
    logins = Logins(tmp_path)
    (tmp_path / "logins.json").write_text(text)
    assert logins.of("https://here") is None
    logins.forget("https://here")
    logins.keep("https://here", LOGIN)
    assert logins.of("https://here") == LOGIN


def test_a_login_of_another_version_counts(tmp_path: Path) -> None:
    logins = Logins(tmp_path)
    logins.keep("https://here", LOGIN)
    entries = json.loads((tmp_path / "logins.json").read_text())
    entries["https://here"] |= {"scopes": ["of a version to come"]}
    del entries["https://here"]["renewal"]
    (tmp_path / "logins.json").write_text(json.dumps(entries))
    assert logins.of("https://here") == LOGIN
