"""Each path with each role that is too low, and with what is no token: nobody gets in."""

from __future__ import annotations

import base64
import time
import zlib

import pytest
from starlette.routing import Route
from starlette.testclient import TestClient

from adapterworks.gateway.http.routes.registry.access import PREFIX
from adapterworks.gateway.http.routes.registry.table import TABLE
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.keys import REGISTRY, key_id_of
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.gateway.tokens.roles import Role
from tests.gateway.registry_http.conftest import Offered

FILLED = {
    "name": "medical",
    "version": "1",
    "ref": "medical@1",
    "other": "medical@2",
    "digest": f"sha256:{'0' * 64}",
    "alias": "prod",
    "token": "nobody",
    "request": "7",
    "tenant": "nobody",
    "key": "nobody22",
    "job": "ftjob-none",
    "event": "evt_none",
}
DENIED = [(entry, role) for entry in TABLE for role in Role if role < entry.role]
ALLOWED = [(entry, role) for entry in TABLE for role in Role if role >= entry.role]


def _url(path: str) -> str:
    return PREFIX + path.format_map(FILLED)


def _status(client: TestClient, method: str, path: str) -> int:
    body = {"json": {}} if method == "POST" else {}
    return client.request(method, _url(path), **body).status_code  # type: ignore[arg-type]


def _with_its_id(token: str) -> str:
    """A well-formed token with somebody's id, and a secret that was guessed."""
    body = f"awr-{token}-{'a' * 32}"
    check = base64.b32encode(zlib.crc32(body.encode()).to_bytes(4, "big")).decode()
    text = body + check.rstrip("=").lower()
    assert key_id_of(text, REGISTRY) == token
    return text


def test_every_path_of_the_application_has_a_line_in_the_table(offered: Offered) -> None:
    routes = [route for route in offered.client.app.routes if isinstance(route, Route)]  # type: ignore[attr-defined]
    there = {
        (method, route.path)
        for route in routes
        for method in (route.methods or set()) - {"HEAD"}
        if route.path != "/openapi.json"
    }
    assert there == {(entry.method, PREFIX + entry.path) for entry in TABLE}


def test_no_path_answers_a_role_that_is_too_low(offered: Offered) -> None:
    clients = {role: offered.ask(role) for role in Role}
    for entry, role in DENIED:
        answer = clients[role].request(entry.method, _url(entry.path))
        assert answer.status_code == 403, (entry.method, entry.path, role)
        assert answer.json()["error"]["code"] == "forbidden"


def test_every_path_answers_a_role_that_is_enough(offered: Offered) -> None:
    clients = {role: offered.ask(role) for role in Role}
    for entry, role in ALLOWED:
        status = _status(clients[role], entry.method, entry.path)
        assert status not in (401, 403, 405, 500), (entry.method, entry.path, role)


@pytest.mark.parametrize("shown", ["nothing", "junk", "revoked", "expired", "tenant", "other"])
def test_no_path_answers_what_is_no_token(
    offered: Offered, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = offered.desk.tokens
    made = tokens.create("once", Role.ADMIN, who="me", expires=time.time() + 60)
    admin = TenantAdmin(offered.registry.database, who="me")
    _, key = admin.add("acme", allow=("*",), limits=Limits())
    text = {
        "nothing": "",
        "junk": "awr-aaaaaaaa-" + "a" * 39,
        "revoked": made.text,
        "expired": made.text,
        "tenant": key.text,
        "other": _with_its_id(made.id),
    }[shown]
    if shown == "revoked":
        tokens.revoke("once", who="me")
    if shown == "expired":
        late = time.time() + 61
        monkeypatch.setattr(time, "time", lambda: late)
    client = offered.with_key(text) if text else offered.ask(None)
    for entry in TABLE:
        answer = client.request(entry.method, _url(entry.path))
        assert answer.status_code == 401, (entry.method, entry.path)
        assert answer.headers["www-authenticate"] == "Bearer"
    if shown in ("revoked", "expired"):
        monkeypatch.undo()


def test_a_tenants_keys_read_while_the_tenant_has_a_role(offered: Offered) -> None:
    admin = TenantAdmin(offered.registry.database, who="me")
    _, key = admin.add("acme", allow=("*",), limits=Limits())
    _, others = admin.add("other", allow=("*",), limits=Limits())
    offered.desk.tokens.grant("acme", Role.READER, who="me")
    client = offered.with_key(key.text)
    told = client.get(f"{PREFIX}/me").json()
    assert (told["name"], told["role"]) == ("tenant:acme", "reader")
    assert offered.with_key(others.text).get(f"{PREFIX}/me").status_code == 401
    offered.desk.tokens.revoke("tenant.acme", who="me")
    assert client.get(f"{PREFIX}/me").status_code == 401
    offered.desk.tokens.grant("acme", Role.READER, who="me")
    admin.revoke_key(key.id)
    assert client.get(f"{PREFIX}/me").status_code == 401


def test_no_text_of_a_token_is_kept(offered: Offered) -> None:
    with offered.registry.database.read() as connection:
        dump = "\n".join(connection.connection.iterdump())  # type: ignore[attr-defined]
    assert "gateway_registry_tokens" in dump
    assert not any(text in dump for text in offered.tokens.values())
