"""Tenants over HTTP: an administrator makes, bounds and ends them, and it is told who did."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from adapterworks.gateway.http.routes.registry.access import PREFIX
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.errors import Unauthorized
from adapterworks.gateway.tenants.store import TenantStore
from adapterworks.gateway.tokens.roles import Role
from adapterworks.registry.lifecycle.protection import Rule, Settings
from tests.gateway.registry_http import test_four_eyes as four_eyes
from tests.gateway.registry_http.conftest import Offered
from tests.registry.releases import publish

ACME = {"name": "acme", "allow": ["medical", "base:*"], "rpm": 600, "weight": 2.0}


def ask(offered: Offered, method: str, path: str, status: int = 200, **body: Any) -> Any:
    client = offered.ask(Role.ADMIN)
    options = {"json": body} if method == "POST" else {"params": body}
    answer = client.request(method, PREFIX + path, **options)  # type: ignore[arg-type]
    assert answer.status_code == status, answer.text
    return answer.json()


def who_is(offered: Offered, key: str) -> str:
    """Whom a gateway that starts now takes the key for."""
    store = TenantStore(offered.registry.database)
    store.start()
    try:
        return store.authenticate(key).name
    finally:
        store.close()


def test_a_tenants_life(offered: Offered) -> None:
    made = ask(offered, "POST", "/tenants", **ACME)
    assert (made["allow"], made["rpm"], made["tpm"]) == (["medical", "base:*"], 600, None)
    assert who_is(offered, made["key"]) == "acme"
    ask(offered, "POST", "/tenants", 409, **ACME)
    changed = ask(offered, "POST", "/tenants/acme", rpm=None, tpm=9)
    assert (changed["rpm"], changed["tpm"], changed["weight"]) == (None, 9, 2.0)
    assert changed["allow"] == ["medical", "base:*"], "what is not said stays"
    second = ask(offered, "POST", "/tenants/acme/keys", seconds=3600)
    assert who_is(offered, second["key"]) == "acme"
    assert 3500 < second["expires"] - time.time() <= 3600
    revoked = ask(offered, "POST", f"/keys/{made['key_id']}/revocation")
    assert revoked["state"] == "revoked"
    with pytest.raises(Unauthorized):
        who_is(offered, made["key"])
    shown = ask(offered, "GET", "/tenants/acme")
    assert [key["state"] for key in shown["keys"]] == ["revoked", "active"]
    ask(offered, "POST", "/tenants/acme/removal")
    with pytest.raises(Unauthorized):
        who_is(offered, second["key"])
    assert ask(offered, "GET", "/tenants/acme", 404)["error"]["code"] == "not_found"


def test_who_did_it_is_kept_without_a_key(offered: Offered) -> None:
    made = ask(offered, "POST", "/tenants", **ACME)
    ask(offered, "POST", f"/keys/{made['key']}/revocation")  # its text goes where its id would
    log = ask(offered, "GET", "/tenant-log", tenant="acme")["data"]
    told = [(row["who"], row["action"]) for row in log]
    assert told == [("admin", "key.revoke"), ("admin", "key.add"), ("admin", "tenant.add")]
    trail = ask(offered, "GET", "/trail")["data"]
    asked = {row["action"]: (row["who"], row["subject"], row["status"]) for row in trail}
    assert asked["tenant.add"] == ("admin", "tenants", 200)
    assert asked["key.revoke"][2] == 200
    with offered.registry.database.read() as connection:
        dump = "\n".join(connection.connection.iterdump())  # type: ignore[attr-defined]
    assert made["key"] not in dump
    tenant, _ = TenantAdmin(offered.registry.database, who="me").show("acme")
    assert tenant.cache_salt not in str([made, log, trail, ask(offered, "GET", "/tenants/acme")])


def test_pages_of_tenants_and_of_their_log(offered: Offered) -> None:
    for name in ("b", "a", "c"):
        ask(offered, "POST", "/tenants", name=name, allow=["*"])
    first = ask(offered, "GET", "/tenants", limit=2)
    assert ([row["name"] for row in first["data"]], first["has_more"]) == (["a", "b"], True)
    rest = ask(offered, "GET", "/tenants", limit=2, after=first["last_id"])
    assert ([row["name"] for row in rest["data"]], rest["has_more"]) == (["c"], False)
    page = ask(offered, "GET", "/tenant-log", limit=2)
    assert [row["tenant"] for row in page["data"]] == ["c", "c"]
    page = ask(offered, "GET", "/tenant-log", limit=9, after=page["last_id"])
    assert [row["tenant"] for row in page["data"]] == ["a", "a", "b", "b"]


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/tenants", {"name": "acme"}, "allow"),
        ("/tenants", {**ACME, "rpm": 0}, "rpm"),
        ("/tenants", {**ACME, "allow": ["a b"]}, "pattern"),
        ("/tenants/acme", {}, "nothing to change"),
        ("/tenants/acme", {"allow": None}, "allow"),
        ("/tenants/acme", {"colour": "red"}, "colour"),
    ],
)
def test_what_makes_no_sense_is_refused(
    offered: Offered, path: str, body: dict[str, Any], words: str
) -> None:
    if path != "/tenants":
        ask(offered, "POST", "/tenants", **ACME)
    assert words in ask(offered, "POST", path, 400, **body)["error"]["message"]


def test_a_tenants_key_is_no_second_person(offered: Offered, tmp_path: Path) -> None:
    """An administrator who is shown a tenant's key would approve their own move with it."""
    for number in (1, 2):
        publish(offered.registry, tmp_path, number)
    offered.registry.promote("medical", 1, "prod", who="me")
    rule = Rule(names=("medical",), approvals=1)
    offered.registry.protection.keep(Settings(aliases={"prod": rule}), who="me")
    made = ask(offered, "POST", "/tenants", **ACME)
    offered.desk.tokens.grant("acme", Role.PROMOTER, who="me")
    number = four_eyes.ask(offered, offered.tokens[Role.ADMIN])
    refused = four_eyes.approve(offered, made["key"], number)
    assert refused.status_code in (409, 422), refused.text
    assert "who has asked or approved already" in refused.json()["error"]["message"]
    assert four_eyes.holder(offered) == 1
    # The tenant may ask, and whoever has seen its key is not the other one.
    theirs = four_eyes.ask(offered, made["key"])
    refused = four_eyes.approve(offered, offered.tokens[Role.ADMIN], theirs)
    assert refused.status_code in (409, 422), refused.text
    assert four_eyes.holder(offered) == 1
    assert four_eyes.approve(offered, offered.tokens[Role.PROMOTER], theirs).status_code == 200
    assert four_eyes.holder(offered) == 2


def test_pages_miss_nobody_whatever_the_databases_order_is(
    offered: Offered, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a-c", "ab"):
        ask(offered, "POST", "/tenants", name=name, allow=["*"])
    plain = TenantAdmin.list
    # As a PostgreSQL of most locales has them, where a hyphen hardly counts.
    monkeypatch.setattr(TenantAdmin, "list", lambda admin: plain(admin)[::-1])
    first = ask(offered, "GET", "/tenants", limit=1)
    rest = ask(offered, "GET", "/tenants", limit=1, after=first["last_id"])
    assert [row["name"] for row in (*first["data"], *rest["data"])] == ["a-c", "ab"]
