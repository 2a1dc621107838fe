"""What is operated from elsewhere: datasets, feedback, webhooks, erasures and gc of a server."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from adapterworks.builders.data.datasets import encode, part_of, read_dataset
from adapterworks.builders.data.rows import Row
from adapterworks.cli.main import cli
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.gateway.tokens.roles import Role
from adapterworks.gateway.tokens.trail import entries
from adapterworks.gateway.webhooks.outbox import Outbox
from adapterworks.manifests.errors import InvalidInput, NotFound, Refused
from adapterworks.manifests.sources import DatasetSource, parse_source
from adapterworks.registry.datasets.record import DatasetRecord, Split
from adapterworks.registry.datasets.store import Datasets
from adapterworks.registry.exchanges.store import Exchanges
from adapterworks.registry.jobs import schema
from adapterworks.registry.jobs.job import Done
from adapterworks.registry.releases.release import Parent
from adapterworks.registry.releases.roles import may_be_erased
from tests.gateway.registry_http.conftest import open_at
from tests.registry.exchanges.test_exchanges import SAID, exchange
from tests.registry.jobs.conformance import claim, finish, put
from tests.registry.releases import folder, publish
from tests.registry.remotes.http.conftest import Server, served_at
from tests.registry.remotes.http.test_commands import Adapters


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of this test's own, with one release."""
    with open_at(tmp_path) as registry:
        publish(registry, tmp_path, 1)
        with served_at(registry, tmp_path / "elsewhere") as server:
            yield server


@pytest.fixture
def adapters(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Adapters:
    monkeypatch.setenv("ADAPTERS_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("ADAPTERS_DATABASE", "postgresql://nobody@127.0.0.1:9/none")
    monkeypatch.setenv("ADAPTERS_BLOBS", str(tmp_path / "none"))
    monkeypatch.setenv("ADAPTERS_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.setenv("ADAPTERS_REGISTRY", server.url)
    monkeypatch.setenv("ADAPTERS_REGISTRY_TOKEN", server.offered.tokens[Role.ADMIN])
    return Adapters()


def be(server: Server, role: Role, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAPTERS_REGISTRY_TOKEN", server.offered.tokens[role])


def dataset(server: Server, name: str, questions: list[str]) -> str:
    """A version of a dataset with such training rows; its digest."""
    rows = [
        Row(({"role": "user", "content": text}, {"role": "assistant", "content": "yes"}), {})
        for text in questions
    ]
    data = encode(rows)
    splits: dict[Split, object] = {"train": part_of(rows, data)}
    record = DatasetRecord.model_validate(
        {
            "name": name,
            "created": "2026-01-01T00:00:00Z",
            "created_by": "tester",
            "splits": splits,
            "tenant": "acme",
        }
    )
    datasets = Datasets(server.registry)
    return datasets.add(record, {"train": data}, seal=None, seen=(), who="ann")[0].digest


def test_datasets_are_read_and_their_rows_are_administrators(
    adapters: Adapters, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = dataset(server, "failures", ["why?"])
    dataset(server, "failures", ["why?", "when?"])
    dataset(server, "open", ["who?"])
    parents = (Parent(relation="dataset", digest=first),)
    publish(server.registry, tmp_path, 2, name="learnt", parents=parents)
    assert [row["ref"] for row in json.loads(adapters("dataset", "list", "--json"))] == [
        "dataset:failures@2",
        "dataset:open@1",
    ]
    versions = json.loads(adapters("dataset", "list", "failures", "--json"))
    here = Datasets(server.registry).get("failures", "1")
    assert [row["version"] for row in versions] == [2, 1]
    assert versions[1]["record"] == here.record.model_dump(mode="json")
    shown = json.loads(adapters("dataset", "show", "failures@1", "--json"))
    assert (shown["digest"], shown["releases"]) == (first, ["learnt@1"])
    assert "why?" in adapters("dataset", "show", "failures@1")
    assert "+ train" in adapters("dataset", "diff", "failures@1", "failures@2")
    adapters("dataset", "export", "failures", str(tmp_path / "rows"))
    assert "when?" in (tmp_path / "rows" / "train.jsonl").read_text()
    with pytest.raises(NotFound, match="no dataset `none`"):
        adapters("dataset", "show", "none")
    # A publisher builds with records; the rows are for administrators.
    be(server, Role.PUBLISHER, monkeypatch)
    told = adapters("dataset", "show", "failures@1")
    assert "learnt@1" in told
    assert "why?" not in told
    with pytest.raises(Refused, match="asks for a admin"):
        adapters("dataset", "export", "failures", str(tmp_path / "none"))
    be(server, Role.READER, monkeypatch)
    with pytest.raises(Refused, match="publisher"):
        adapters("dataset", "list")


def test_a_build_elsewhere_reads_the_same_rows(server: Server) -> None:
    dataset(server, "failures", ["why?", "when?"])
    source = parse_source("dataset:failures@1")
    assert isinstance(source, DatasetSource)
    here = read_dataset(server.registry, source, "train")
    assert read_dataset(server.remote(Role.ADMIN), source, "train") == here
    assert [row.prompt[-1]["content"] for row in here[0]] == ["why?", "when?"]
    with pytest.raises(Refused, match="admin"):
        read_dataset(server.remote(Role.PUBLISHER), source, "train")


def test_no_other_bytes_are_rows(server: Server) -> None:
    """A digest alone opens nothing."""
    dataset(server, "failures", ["why?"])
    release = server.registry.release(server.registry.resolve("medical@1").digest)
    digest = next(iter(release.files.values())).digest
    client = server.offered.ask(Role.ADMIN)
    assert client.get(f"/v1/registry/rows/{digest}").status_code == 404


def test_feedback_is_listed_added_to_and_exported(adapters: Adapters, server: Server) -> None:
    acme, _ = TenantAdmin(server.registry.database, who="t").add(
        "acme", allow=("*",), limits=Limits()
    )
    kept = server.offered.desk.exchanges
    receipts = [f"req-{number:024x}" for number in range(3)]
    kept.put(
        [
            exchange(number, receipt=receipt, tenant=acme.id, id=f"chatcmpl-{receipt}")
            for number, receipt in enumerate(receipts)
        ]
    )
    said = ["feedback", "add", receipts[0], "--tenant", "acme", "--reviewer"]
    assert adapters(*said, "ann", "--thumb", "down", "--correction", "a secret word").startswith(
        "kept: fb-"
    )
    assert adapters(*said, "bob", "--score", "0", "--once", "k").startswith("kept: ")
    assert adapters(*said, "bob", "--score", "0", "--once", "k").startswith("known already: ")
    adapters("feedback", "add", receipts[1], "--tenant", "acme", "--thumb", "up")
    listed = json.loads(adapters("feedback", "list", "--json"))
    assert [(one["receipt"], one["tenant"], one["thumb"]) for one in listed] == [
        (receipts[1], "acme", "up"),
        (receipts[0], "acme", None),
        (receipts[0], "acme", "down"),
    ]
    assert listed[1]["score"] == 0.0
    assert listed[2]["correction"] == "a secret word"
    page = json.loads(adapters("feedback", "list", "--limit", "2", "--json"))
    assert page == listed[:2]
    assert json.loads(adapters("feedback", "list", "--adapter", "legal", "--json")) == []
    lines = [json.loads(line) for line in adapters("feedback", "export").splitlines()]
    assert [line["receipt"] for line in lines] == receipts[:2]
    assert lines[0]["messages"] == [{"role": "user", "content": SAID}]
    assert lines[0]["feedback"][0]["tenant"] == "acme"
    assert "no two reviewers" in CliRunner().invoke(cli, ["feedback", "agreement"]).output
    with pytest.raises(NotFound):
        adapters("feedback", "add", "req-none", "--tenant", "acme", "--thumb", "up")
    with pytest.raises(InvalidInput, match="nothing is said"):
        adapters("feedback", "add", receipts[0], "--tenant", "acme")
    # Who said what of whose answer is in the trail; the words are not.
    told = [entry for entry in entries(server.registry.database) if entry.action == "feedback.add"]
    assert told
    assert "a secret word" not in str(told)


def test_what_addresses_were_told_is_listed_and_sent_again(
    adapters: Adapters, server: Server
) -> None:
    database = server.registry.database
    schema.migrate(database)
    assert json.loads(adapters("webhook", "list", "--json")) == []
    outbox = Outbox(database, lambda name, version: {}, time.time)
    outbox.collect([("ci", lambda kind: True)])
    put(database, now=time.time())
    _, held = claim(database, now=time.time())
    finish(database, held, Done({"ref": "n@1"}), now=time.time())
    outbox.collect([("ci", lambda kind: True)])
    (taken,) = outbox.take(["ci"], 10)
    outbox.failed(taken, "gone", for_good=True)
    (one,) = json.loads(adapters("webhook", "list", "--state", "dropped", "--json"))
    assert (one["address"], one["event"], one["said"]) == ("ci", taken.event, "gone")
    assert "is sent again to 1 address" in adapters("webhook", "resend", taken.event)
    assert [again.event for again in outbox.take(["ci"], 10)] == [taken.event]
    with pytest.raises(NotFound):
        adapters("webhook", "resend", "evt_none")


def test_a_files_bytes_are_erased_there_and_here(
    adapters: Adapters, server: Server, tmp_path: Path
) -> None:
    adapters("pull", "medical@1")
    release = server.registry.release(server.registry.resolve("medical@1").digest)
    path, entry = next(item for item in release.files.items() if may_be_erased(item[0]))
    data = server.registry.read(server.registry.resolve("medical@1").digest, path)
    copy = tmp_path / "elsewhere" / "builds" / "old" / path
    copy.parent.mkdir(parents=True)
    copy.write_bytes(data)
    done = json.loads(adapters("erase", "medical@1", path, "--why", "withdrawn", "--yes", "--json"))
    assert (done["blob"], done["created"]) == (entry.digest, True)
    assert str(copy) in done["copies"]
    assert not copy.exists()
    assert not server.registry.blobs.exists(entry.digest)
    again = adapters("erase", entry.digest, "--why", "withdrawn", "--yes")
    assert "(they had been before)" in again
    (event,) = [e for e in server.registry.log.events("medical", limit=9) if e.kind == "erase"]
    assert (event.who, event.why) == ("admin", "withdrawn")
    weights = next(path for path in release.files if path.endswith("adapter_model.safetensors"))
    with pytest.raises(Refused, match="needed to serve"):
        adapters("erase", "medical@1", weights, "--why", "x", "--yes")


def test_a_tenant_is_erased_there(adapters: Adapters, server: Server) -> None:
    admin = TenantAdmin(server.registry.database, who="t")
    acme, _ = admin.add("acme", allow=("*",), limits=Limits())
    dataset(server, "failures", ["why?"])
    kept = server.offered.desk.exchanges
    kept.put([exchange(1, tenant=acme.id)])
    done = json.loads(adapters("erase", "tenant:acme", "--why", "end", "--yes", "--json"))
    assert (done["tenant"], done["exchanges"], done["datasets"]) == (
        acme.id,
        1,
        ["dataset:failures@1"],
    )
    assert list(kept.read(tenant=acme.id)) == []
    (entry,) = [e for e in admin.log(tenant="acme", limit=9) if e.action == "tenant.erase"]
    assert (entry.who, entry.details["why"]) == ("admin", "end")
    assert "0 captured answers" in adapters("erase", "tenant:acme", "--why", "end", "--yes")
    with pytest.raises(NotFound):
        adapters("erase", "tenant:nobody", "--why", "end", "--yes")


def test_an_erasure_says_that_the_key_is_on_another_machine(
    adapters: Adapters, server: Server, tmp_path: Path
) -> None:
    admin = TenantAdmin(server.registry.database, who="t")
    acme, _ = admin.add("acme", allow=("*",), limits=Limits())
    elsewhere = tmp_path / "keys-of-the-gateway"
    Exchanges.of(server.registry, elsewhere).put([exchange(1, tenant=acme.id)])
    said = adapters("erase", "tenant:acme", "--why", "end", "--yes")
    assert "erased 1 captured answers and 0 pieces of feedback; no key of it was there" in said
    assert list(elsewhere.iterdir())


def test_gc_is_done_there(adapters: Adapters, server: Server, tmp_path: Path) -> None:
    registry = server.registry
    publish(registry, tmp_path, 9, name="old")
    digest = registry.resolve("old@1").digest
    registry.delete("old", 1, who="t", why="old")
    for path in Path(tmp_path / "blobs").rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - 7200, time.time() - 7200))
    planned = json.loads(adapters("gc", "--dry-run", "--json"))
    doomed = {blob["digest"] for blob in planned["report"]["blobs"]}
    assert planned["report"]["dry_run"]
    assert digest in doomed
    assert registry.blobs.exists(digest)
    assert "would remove" in adapters("gc", "--dry-run")
    done = json.loads(adapters("gc", "--yes", "--json"))
    assert {blob["digest"] for blob in done["report"]["blobs"]} == doomed
    assert done["bytes"] == sum(blob["size"] for blob in done["report"]["blobs"])
    assert not registry.blobs.exists(digest)
    actions = [entry.action for entry in entries(registry.database)]
    assert "gc" in actions


def test_a_version_is_purged_there(adapters: Adapters, server: Server, tmp_path: Path) -> None:
    registry = server.registry
    publish(registry, tmp_path, 9, name="old")
    digest = registry.resolve("old@1").digest
    checkout = Path(adapters("pull", "old@1").strip())
    assert checkout.exists()
    home = checkout.parents[2]
    kept = folder(home / "builds" / "old", 9)
    shared = kept / "README.md"  # `medical` has it too
    with pytest.raises(InvalidInput, match="needs `--why`"):
        adapters("delete", "old@1", "--purge", "--yes")
    done = json.loads(
        adapters("delete", "old@1", "--purge", "--why", "withdrawn", "--yes", "--json")
    )
    assert (done["deleted"], done["digest"]) == ("old@1", digest)
    assert done["purge"]["alone"]
    assert not any(registry.blobs.exists(blob) for blob in done["purge"]["alone"])
    assert not checkout.exists()
    assert not list(kept.rglob("*.safetensors"))
    assert shared.exists()
    assert str(kept / "adapter" / "adapter_model.safetensors") in done["purge"]["copies"]
    assert registry.version("old", 1).deleted is not None
    assert "deleted old@1" in adapters("delete", "old@1", "--purge", "--why", "again", "--yes")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["worker", "--once"], "publishing a release and ending its job are one transaction"),
        (["dataset", "add", "x", "rows.jsonl"], "held against every sealed test set"),
        (["dataset", "split", "x", "--test", "0.2"], "held against every sealed test set"),
        (["erase", "dataset:x@1", "train:1", "--why", "x", "--yes"], "where the registry is"),
    ],
)
def test_what_is_done_where_the_registry_is_says_why(
    adapters: Adapters, words: list[str], said: str
) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        adapters(*words)
    assert "ADAPTERS_REGISTRY" in str(caught.value.hint)


def test_it_is_for_administrators(server: Server) -> None:
    client = server.offered.ask(Role.PROMOTER)
    digest = f"sha256:{'0' * 64}"
    purge = "/adapters/medical/versions/1/purge"
    for path in ("/feedback", "/feedback/exchanges", "/webhooks", f"/rows/{digest}",
                 f"/erasures/{digest}", "/tenants/acme/holding", purge):  # fmt: skip
        assert client.get(f"/v1/registry{path}").status_code == 403, path
    for path in ("/feedback", "/webhooks/e/resending", "/collection", f"/erasures/{digest}",
                 "/tenants/acme/erasure", purge):  # fmt: skip
        assert client.post(f"/v1/registry{path}", json={}).status_code == 403, path
    admin = server.offered.ask(Role.ADMIN)
    for path, body in (
        (f"/erasures/{digest}", {}),
        ("/tenants/acme/erasure", {"why": ""}),
        ("/collection", {"grace": -1}),
        ("/feedback", {"id": "x", "thumb": "up"}),
    ):
        assert admin.post(f"/v1/registry{path}", json=body).status_code == 400, path
    assert admin.get("/v1/registry/webhooks", params={"state": "x"}).status_code == 400
    assert admin.get("/v1/registry/feedback", params={"after": "x"}).status_code == 400
