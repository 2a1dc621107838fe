"""`adapters login` with a real issuer, a real server, and a browser that does what it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from adapterworks.cli.main import cli
from adapterworks.gateway.config.tables import HttpTable
from adapterworks.gateway.http.app import create_registry_app
from adapterworks.gateway.http.routes.registry.desk import open_desk
from adapterworks.gateway.http.server import uvicorn_config
from adapterworks.manifests.errors import InvalidInput, Refused
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
