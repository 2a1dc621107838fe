"""Whoever erases a tenant is told what has learnt from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from adapterworks.cli.main import cli
from adapterworks.gateway.config.tables import GatewayConfig, RegistryTable, TrustTable
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.erasing import TenantErasure
from adapterworks.gateway.tenants.store import TenantStore
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.gateway.tokens.roles import Role
from adapterworks.gateway.tokens.tokens import Tokens
from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import Conflict
from adapterworks.registry.bases.base import Base
from adapterworks.registry.datasets.record import DatasetRecord, Part
from adapterworks.registry.datasets.store import Datasets
from adapterworks.registry.exchanges.store import Exchanges
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Parent
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher
from tests.registry.exchanges.test_exchanges import exchange
from tests.registry.releases import publish

ROW = b'{"prompt":"what is A06?","completion":"amebiasis"}\n'


def dataset(registry: Registry, name: str, tenant: str | None) -> str:
    data = ROW.replace(b"A06", name.encode())
    part = Part(digest=digest_bytes(data), size=len(data), rows=1, content=digest_bytes(b"x"))
    record = DatasetRecord(
        name=name,
        created="2026-01-01T00:00:00Z",
        created_by="tester",
        splits={"train": part},
        tenant=tenant,
    )
    added, _ = Datasets(registry).add(record, {"train": data}, seal=None, seen=(), who="tester")
    return added.digest


def test_what_learnt_from_a_tenant_is_named(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADAPTERS_HOME", str(tmp_path / "registry"))
    admin = TenantAdmin(registry.database, who="tester")
    admin.add("acme", allow=("*",), limits=Limits())
    of_acme, other = dataset(registry, "failures", "acme"), dataset(registry, "open", None)

    def made(number: int, parent: str, relation: str) -> str:
        parents = (Parent(relation=relation, digest=parent),)
        return publish(registry, tmp_path, number, name=f"m{number}", parents=parents).digest

    first = made(1, of_acme, "dataset")
    made(2, other, "dataset")
    made(3, first, "start")  # continued: it has the rows in its weights too

    def erase(what: str, *options: str) -> str:
        result = CliRunner().invoke(cli, ["erase", what, "--why", "withdrawn", *options])
        assert result.exit_code == 0, result.output
        return result.output

    told = json.loads(erase("tenant:acme", "--yes", "--json"))
    assert [item["ref"] for item in told["releases"]] == ["m1@1", "m3@1"]
    assert told["datasets"] == ["dataset:failures@1"]
    admin.remove("acme")
    said = erase(f"tenant:{told['tenant']}", "--yes")  # of one that was removed, by its id
    assert "0 captured answers" in said
    assert "rows of it, which stay: dataset:failures@1" in said
    # Another one of that name would be taken for the owner of its rows.
    with pytest.raises(Conflict, match="whose rows are in `dataset:failures@1`"):
        admin.add("acme", allow=("*",), limits=Limits())
    entries = CliRunner().invoke(cli, ["tenant", "log", "--json"]).stdout
    assert [entry["action"] for entry in json.loads(entries)][:1] == ["tenant.erase"]


def test_a_gateway_destroys_the_key_that_it_sealed_with(
    launcher: Launcher, registry: Registry, base: Base, tmp_path: Path
) -> None:
    admin = TenantAdmin(registry.database, who="tester")
    acme, _ = admin.add("acme", allow=("*",), limits=Limits())
    token = Tokens(registry.database).create("me", Role.ADMIN, who="me").text
    keys = tmp_path / "elsewhere"
    config = GatewayConfig(trust=TrustTable(proof="off"), registry=RegistryTable(on=True))
    engine = launcher.standin(base, StandIn(base.name))
    running = launcher.gateway(registry, [engine], tmp_path / "spool", config, keys=keys)
    store = running.gateway.capture.store
    store.put([exchange(1, tenant=acme.id)])
    assert [path.name for path in keys.iterdir()] == [f"{acme.id}.key"]
    with running.http(token) as client:
        found = client.get("/v1/registry/tenants/acme/holding").json()
        done = client.post("/v1/registry/tenants/acme/erasure", json={"why": "end"}).json()
        again = client.post("/v1/registry/tenants/acme/erasure", json={"why": "end"}).json()
    assert [(told["exchanges"], told["key"]) for told in (found, done, again)] == [
        (1, True),
        (1, True),
        (0, False),
    ]
    assert list(keys.iterdir()) == []


def test_what_stood_for_a_tenants_users_stands_for_nobody_afterwards(
    registry: Registry, tmp_path: Path
) -> None:
    admin = TenantAdmin(registry.database, who="tester")
    before, key = admin.add("acme", allow=("*",), limits=Limits())
    other, _ = admin.add("globex", allow=("*",), limits=Limits())
    store = TenantStore(registry.database)
    store_of = Exchanges(registry.database, tmp_path / "exchanges", tmp_path / "keys")
    TenantErasure(registry, store_of).erase("acme", who="tester", why="withdrew")
    assert store.refresh()  # a running gateway sees it
    after = store.authenticate(key.text)
    assert after.pseudonym("ann") not in ("", before.pseudonym("ann"))
    assert admin.show("globex")[0].pseudonym("ann") == other.pseudonym("ann")


def test_reviews_of_what_its_jobs_have_trained_go_with_a_tenant(
    registry: Registry, tmp_path: Path
) -> None:
    admin = TenantAdmin(registry.database, who="tester")
    acme, _ = admin.add("acme", allow=("*",), limits=Limits())
    own = publish(registry, tmp_path, 1, name=f"{acme.prefix}medical").digest
    others = publish(registry, tmp_path, 2, name="medical").digest
    for name, digest in (("theirs", own), ("ours", others)):
        folder = registry.home / "reviews" / name
        folder.mkdir(parents=True)
        (folder / "review.json").write_text(json.dumps({"reviewed": {"digest": digest}}))
    erasure = TenantErasure(
        registry, Exchanges(registry.database, tmp_path / "exchanges", tmp_path / "keys")
    )
    assert erasure.look("acme").reviews == ("theirs",)
    assert erasure.erase("acme", who="tester", why="withdrew").reviews == ("theirs",)
    assert [path.name for path in (registry.home / "reviews").iterdir()] == ["ours"]
