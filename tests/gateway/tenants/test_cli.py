"""`adapters tenant`, `usage` and `doctor` as a person and as a script use them."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from adapterworks.cli.main import cli
from adapterworks.gateway.metering.event import UsageEvent
from adapterworks.gateway.metering.usage import insert_events
from adapterworks.gateway.tenants.store import TenantStore
from adapterworks.manifests.errors import AdapterworksError, InvalidInput, NotFound
from adapterworks.registry.index.database import Database


@pytest.fixture(autouse=True)
def _settings(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands work on this test's own index."""
    monkeypatch.setenv("ADAPTERS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ADAPTERS_DATABASE", url)
    monkeypatch.setenv("ADAPTERS_USER", "tester")
    monkeypatch.delenv("ADAPTERS_BLOBS", raising=False)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def ok(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def values(*arguments: str) -> Any:
    return json.loads(ok(*arguments, "--json"))


ADD = (
    "tenant", "add", "acme", "--allow", "medical,enterprise-*", "--rpm", "600", "--tpm", "100k",
    "--max-concurrency", "16", "--monthly-tokens", "50M",
)  # fmt: skip


def test_a_tenants_life(database: Database) -> None:
    result = run(*ADD)
    first = result.stdout.strip()
    assert re.fullmatch(r"aw-[a-z2-7]{8}-[a-z2-7]{39}", first)  # the key alone, for `KEY=$(…)`
    assert "not shown again" in result.stderr
    store = TenantStore(database)
    tenant = store.authenticate(first)
    assert (tenant.limits.rpm, tenant.limits.tpm) == (600, 100_000)
    assert (tenant.limits.max_concurrency, tenant.limits.monthly_tokens) == (16, 50_000_000)

    second = values("tenant", "key", "add", "acme", "--expires", "90d")
    expires = datetime.fromisoformat(second["expires"]).timestamp()
    assert expires == pytest.approx(time.time() + 90 * 86400, abs=60)

    ok("tenant", "set", "acme", "--rpm", "none", "--share", "2", "--allow", "*")
    shown = values("tenant", "show", "acme")
    assert (shown["rpm"], shown["weight"], shown["allow"]) == (None, 2.0, ["*"])
    assert [key["state"] for key in shown["keys"]] == ["active", "active"]

    ok("tenant", "key", "revoke", second["key_id"])
    states = {key["id"]: key["state"] for key in values("tenant", "key", "list", "acme")}
    assert states[second["key_id"]] == "revoked"
    assert "acme" in ok("tenant", "list")
    assert run("tenant", "remove", "acme").exit_code == 1  # asks, and nobody answers
    ok("tenant", "remove", "acme", "--yes")
    assert values("tenant", "list") == []
    log = values("tenant", "log", "acme")
    assert [entry["action"] for entry in log] == [
        "tenant.remove", "key.revoke", "tenant.set", "key.add", "key.add", "tenant.add",
    ]  # fmt: skip
    assert {entry["who"] for entry in log} == {"tester"}
    pages, after = [], ()
    while page := values("tenant", "log", "--limit", "2", *after):
        pages += page
        after = ("--after", str(page[-1]["sequence"]))
    assert pages == log
    everything = json.dumps([log, shown]) + ok("tenant", "log")
    assert first not in everything
    assert second["key"] not in everything


MISTAKES: list[tuple[str, type[AdapterworksError] | None]] = [
    ("tenant show nobody", NotFound),
    ("tenant key add nobody", NotFound),
    ("tenant key revoke nothing", NotFound),
    ("tenant add NotAName --allow *", InvalidInput),
    ("tenant add a --allow b;c", InvalidInput),
    ("tenant set a", InvalidInput),
    ("tenant add a --allow * --share 0", InvalidInput),
    ("tenant add a --allow * --weight 0", InvalidInput),
    ("usage --tenant nobody", NotFound),
    ("usage --since monday", InvalidInput),
    ("tenant add a --allow * --rpm many", None),  # None: click's own usage error
    ("tenant add a --allow * --rpm 0", None),
    ("tenant key add a --expires soon", None),
    ("usage --json --csv", None),
]


def test_mistakes_are_said() -> None:
    for line, error in MISTAKES:
        result = run(*line.split(" "))
        assert result.stdout == "", line
        if error is None:
            assert result.exit_code == 2, line
        else:
            assert isinstance(result.exception, error), line


def test_usage_as_table_json_and_csv(database: Database) -> None:
    ok(*ADD)
    tenant = values("tenant", "show", "acme")["id"]
    noon = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()
    insert_events(
        database,
        [
            UsageEvent(
                f"r{n}", tenant, "sha256:aa", "medical@1", 7, n, 200, started=noon + n * 86400
            )
            for n in range(3)
        ],
    )
    rows = values("usage", "--tenant", "acme", "--by", "day", "--since", "2026-11-25")
    assert [(row["day"], row["completion_tokens"]) for row in rows] == [
        ("2026-11-25", 1),
        ("2026-11-26", 2),
    ]
    table = list(csv.DictReader(io.StringIO(ok("usage", "--by", "tenant", "--by", "ref", "--csv"))))
    assert [(row["tenant"], row["ref"], row["total_tokens"]) for row in table] == [
        ("acme", "medical@1", "24")
    ]
    assert "2026-11-24" in ok("usage")


def test_doctor_finds_no_fault_with_what_the_tests_run_on(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = {check["name"]: check for check in values("doctor")}
    assert found.keys() >= {
        "packages", "engine", "seams", "cpu", "threads", "memory", "shm", "allocator", "gpu",
        "files", "disk", "index", "blobs", "hub",
    }  # fmt: skip
    assert "offline" in found["hub"]["finding"]
    assert found["index"]["finding"].startswith(
        "SQLite at" if url.startswith("sqlite") else "PostgreSQL at"
    )
    assert [check for check in found.values() if check["level"] == "fail"] == []


def test_doctor_says_what_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("ADAPTERS_DATABASE", "postgresql://someone:secret@127.0.0.1:9/none")
    result = run("doctor", "--json")
    assert result.exit_code == 1
    index = next(check for check in json.loads(result.stdout) if check["name"] == "index")
    assert index["level"] == "fail"
    assert "secret" not in result.output
