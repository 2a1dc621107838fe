"""Tenants and keys: who gets in, who does not, and how fast that changes everywhere."""

from __future__ import annotations

import base64
import json
import logging
import subprocess
import time
import zlib
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from adapterworks.gateway.observe.logs import StructuredFormatter
from adapterworks.gateway.tenants import audit
from adapterworks.gateway.tenants import store as tenants
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.errors import Unauthorized
from adapterworks.gateway.tenants.keys import digest_key, key_id_of, new_key
from adapterworks.gateway.tenants.store import TenantStore
from adapterworks.gateway.tenants.tenant import OPEN_TENANT, Limits, Tenant, parse_allow
from adapterworks.manifests.errors import Conflict, InvalidInput, NotFound, Unavailable
from adapterworks.registry.index.database import Database
from tests.warm.python import warm_python

ROOT = Path(__file__).resolve().parents[3]


class Clock:
    """The module `time`, for one that asks it: a fixed time of day, a monotonic clock put on."""

    def __init__(self, wall: float | None = None, later: float = 0.0) -> None:
        self.wall, self.later, self._began = wall, later, time.monotonic()

    def time(self) -> float:
        return time.time() if self.wall is None else self.wall

    def monotonic(self) -> float:
        return self._began + self.later


def test_a_key_opens_its_tenant_and_no_other(database: Database, admin: TenantAdmin) -> None:
    acme, acme_key = admin.add("acme", allow=("medical",), limits=Limits(rpm=60))
    other, other_key = admin.add("other", allow=("*",), limits=Limits(), weight=2.0)
    second = admin.add_key("acme")
    store = TenantStore(database)
    assert store.authenticate(acme_key.text) == acme
    assert store.authenticate(second.text) == acme
    assert store.authenticate(other_key.text) == other
    assert acme.limits == Limits(rpm=60)
    assert other.weight == 2.0


def test_cross_tenant_cache_salts_differ_and_are_stable(
    database: Database, admin: TenantAdmin
) -> None:
    made = [admin.add(f"t{n}", allow=("*",), limits=Limits()) for n in range(5)]
    salts = {tenant.cache_salt for tenant, _ in made} | {OPEN_TENANT.cache_salt}
    assert len(salts) == 6
    admin.set("t0", {"rpm": 5})
    store = TenantStore(database)
    for tenant, key in made:
        assert store.authenticate(key.text).cache_salt == tenant.cache_salt
        assert tenant.cache_salt not in repr(tenant)


def test_no_key_that_does_not_work_says_why(
    database: Database, admin: TenantAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, revoked = admin.add("acme", allow=("*",), limits=Limits())
    admin.revoke_key(revoked.id)
    expires = time.time() + 3600
    expired = admin.add_key("acme", expires=expires)
    valid = admin.add_key("acme")
    _, gone = admin.add("gone", allow=("*",), limits=Limits())
    admin.remove("gone")
    store = TenantStore(database)
    assert store.authenticate(expired.text).name == "acme"
    monkeypatch.setattr(tenants, "time", Clock(wall=expires))
    other = new_key()
    forged = f"aw-{valid.id}-{other.text[12:44]}"  # a known id, another secret, a right checksum
    forged += base64.b32encode(zlib.crc32(forged.encode()).to_bytes(4, "big")).decode()[:7].lower()
    assert key_id_of(forged) == valid.id
    wrong = [
        revoked.text, expired.text, gone.text, new_key().text, forged, expired.text[:-1],
        expired.text.upper(), f" {expired.text}", "aw-", "sk-123", "ключ", "x" * 100_000, "\x00",
    ]  # fmt: skip
    answers = set()
    for key in wrong:
        with pytest.raises(Unauthorized) as caught:
            store.authenticate(key)
        answers.add((type(caught.value), caught.value.message, caught.value.hint))
    assert len(answers) == 1
    for nothing in (None, ""):
        with pytest.raises(Unauthorized, match="no API key"):
            store.authenticate(nothing)


def test_cve_2026_42208_no_text_of_a_key_reaches_sql(
    database: Database, admin: TenantAdmin
) -> None:
    """LiteLLM's key check built SQL from the key; here no statement runs at all."""
    _, key = admin.add("acme", allow=("*",), limits=Limits())
    store = TenantStore(database)
    statements: list[str] = []
    event.listen(
        database.engine, "before_cursor_execute", lambda *args: statements.append(str(args[2]))
    )
    for attack in (
        "' OR '1'='1", "aw-aaaaaaaa-' UNION SELECT id FROM gateway_keys --", f"{key.text}' --",
        f"{key.text}'; DROP TABLE gateway_keys; --", "aw-%-%", "aw-________-" + "_" * 39, "*",
    ):  # fmt: skip
        with pytest.raises(Unauthorized):
            store.authenticate(attack)
    assert store.authenticate(key.text).name == "acme"
    assert statements == []
    # The admin side takes text into bound parameters only.
    for attack in ("' OR '1'='1", "x'; DROP TABLE gateway_keys; --"):
        with pytest.raises(NotFound):
            admin.revoke_key(attack)
        with pytest.raises(NotFound):
            admin.show(attack)
        with pytest.raises(InvalidInput):
            admin.add(attack, allow=("*",), limits=Limits())
    assert TenantStore(database).authenticate(key.text).name == "acme"


@settings(
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(text=st.text(max_size=80))
def test_no_made_up_text_is_a_key(text: str) -> None:
    assert key_id_of(text) is None


def test_keys_are_stored_as_digests_only(database: Database, admin: TenantAdmin) -> None:
    _, key = admin.add("acme", allow=("*",), limits=Limits())
    assert key.text not in repr(key)
    with database.read() as connection:
        stored = [
            str(tuple(row))
            for table in ("gateway_keys", "gateway_audit", "gateway_tenants")
            for row in connection.execute(sa.text(f"SELECT * FROM {table}"))
        ]
    assert any(digest_key(key.text) in row for row in stored)
    assert not any(key.text in row or key.text[12:] in row for row in stored)


WATCHER = """
import json, sys, time
from adapterworks.gateway.tenants.errors import Unauthorized
from adapterworks.gateway.tenants.store import TenantStore
from adapterworks.registry.index.database import Database
store = TenantStore(Database(sys.argv[1])); store.start()
key = sys.stdin.readline().strip()
store.authenticate(key); print("in", flush=True)
deadline = time.time() + 20
while time.time() < deadline:
    try:
        store.authenticate(key)
    except Unauthorized:
        print(json.dumps(time.time()), flush=True); break
    time.sleep(0.005)
"""


def test_revocation_holds_within_a_second_in_every_process(url: str, admin: TenantAdmin) -> None:
    _, key = admin.add("acme", allow=("*",), limits=Limits())
    watchers = [
        subprocess.Popen(
            [warm_python("gateway"), "-c", WATCHER, url],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for _ in range(3)
    ]  # fmt: skip
    try:
        for watcher in watchers:
            assert watcher.stdin is not None
            watcher.stdin.write(key.text + "\n")
            watcher.stdin.flush()
        for watcher in watchers:
            assert watcher.stdout is not None
            assert watcher.stdout.readline() == "in\n"
        admin.revoke_key(key.id)
        revoked = time.time()
        for watcher in watchers:
            assert watcher.stdout is not None
            assert json.loads(watcher.stdout.readline()) - revoked < 1.0
    finally:
        for watcher in watchers:
            watcher.kill()
            watcher.communicate()


def test_every_change_reaches_a_running_store(database: Database, admin: TenantAdmin) -> None:
    _, key = admin.add("acme", allow=("medical",), limits=Limits())
    store = TenantStore(database)
    assert not store.refresh()
    admin.set("acme", {"allow": ("enterprise-*",), "rpm": 7, "weight": 3.0})
    assert store.refresh()
    tenant = store.authenticate(key.text)
    assert (tenant.allow, tenant.limits.rpm, tenant.weight) == (("enterprise-*",), 7, 3.0)
    admin.remove("acme")
    assert store.refresh()
    with pytest.raises(Unauthorized):
        store.authenticate(key.text)


def test_nobody_is_let_in_once_revocations_cannot_be_seen(
    database: Database, admin: TenantAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, key = admin.add("acme", allow=("*",), limits=Limits())
    store = TenantStore(database)
    clock = Clock(later=tenants.STALE_SECONDS - 1)
    monkeypatch.setattr(tenants, "time", clock)
    assert store.authenticate(key.text)
    clock.later += 2
    with pytest.raises(Unavailable, match="cannot be checked"):
        store.authenticate(key.text)
    store.refresh()
    assert store.authenticate(key.text)


@pytest.mark.parametrize(
    ("allow", "yes", "no"),
    [
        ("medical", ["medical"], ["medical2", "base:medical", "x"]),
        ("medical,enterprise-*", ["medical", "enterprise-kb"], ["enterprise", "base:enterprise-x"]),
        ("*", ["medical", "base:llama"], []),
        ("base:*", ["base:llama"], ["llama", "medical"]),
        ("base:llama", ["base:llama"], ["base:llama2", "llama"]),
        ("*-llama", ["my-llama"], ["base:my-llama"]),
        ("[a-c]?", ["a1"], ["d1", "a12"]),
    ],
)
def test_what_a_tenant_may_use(allow: str, yes: list[str], no: list[str]) -> None:
    tenant = Tenant("t", "t", parse_allow(allow), "s")
    assert [name for name in yes if not tenant.may_use(name)] == []
    assert [name for name in no if tenant.may_use(name)] == []


@pytest.mark.parametrize("allow", ["", ",", "base:", "Med", "a b", "../x", "a;b", "medical@7"])
def test_patterns_that_no_name_can_match_are_refused(allow: str) -> None:
    with pytest.raises(InvalidInput):
        parse_allow(allow)


def test_admin_refuses_what_cannot_be(admin: TenantAdmin) -> None:
    admin.add("acme", allow=("*",), limits=Limits())
    with pytest.raises(Conflict):
        admin.add("acme", allow=("*",), limits=Limits())
    for bad in ({"rpm": 0}, {"tpm": -1}, {"weight": 0.0}, {"allow": ()}, {}):
        with pytest.raises(InvalidInput):
            admin.set("acme", bad)
    key = admin.add_key("acme")
    admin.revoke_key(key.text)  # a leaked key can be pasted as it is
    with pytest.raises(Conflict):
        admin.revoke_key(key.id)
    with pytest.raises(InvalidInput):
        admin.add_key("acme", expires=time.time() - 1)
    admin.remove("acme")
    admin.add("acme", allow=("*",), limits=Limits())  # a name may be used again


def test_every_admin_action_is_in_the_audit_log_for_good(
    database: Database, admin: TenantAdmin
) -> None:
    admin.add("acme", allow=("*",), limits=Limits())
    admin.set("acme", {"rpm": 5})
    key = admin.add_key("acme")
    admin.revoke_key(key.id)
    admin.remove("acme")
    with pytest.raises(NotFound):
        admin.remove("acme")
    found = audit.entries(database, tenant="acme")
    assert [entry.action for entry in reversed(found)] == [
        "tenant.add", "key.add", "tenant.set", "key.add", "key.revoke", "tenant.remove",
    ]  # fmt: skip
    assert {entry.who for entry in found} == {"tester"}
    assert found[3].details == {"from": {"rpm": None}, "to": {"rpm": 5}}
    emptied = (
        "INSERT OR REPLACE INTO gateway_audit "
        "SELECT sequence, at, 'nobody', action, tenant, details FROM gateway_audit"
        if database.is_sqlite
        else "TRUNCATE gateway_audit"
    )
    for statement in (
        "DELETE FROM gateway_audit",
        "UPDATE gateway_audit SET who = 'nobody'",
        emptied,
    ):
        with pytest.raises(DBAPIError, match="append-only"), database.engine.begin() as connection:
            connection.execute(sa.text(statement))
    page = audit.entries(database, limit=2, before=found[1].sequence)
    assert [entry.sequence for entry in page] == [found[2].sequence, found[3].sequence]


def test_logs_have_no_prompts_and_no_keys_by_default() -> None:
    from adapterworks.gateway.config.tables import LogTable

    key = new_key()
    record = logging.LogRecord("g", logging.INFO, "", 0, "caller sent %s", (key.text,), None)
    record.fields = {"request_id": "r1", "prompt": "secret words", "status": 200}
    entry = json.loads(StructuredFormatter(LogTable()).format(record))
    assert entry["message"] == f"caller sent aw-{key.id}-…"
    assert (entry["request_id"], entry["status"]) == ("r1", 200)
    assert "prompt" not in entry
    asked_for = StructuredFormatter(LogTable(prompts=True)).format(record)
    assert json.loads(asked_for)["prompt"] == "secret words"
