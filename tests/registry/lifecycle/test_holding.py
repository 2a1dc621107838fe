"""Rows, seals and tenants' files: held for a day until they are listed, and never by an old index
taken for nobody's."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.digests import canonical_json, digest_bytes
from adapterworks.manifests.errors import Conflict, InvalidInput, Refused
from adapterworks.registry.blobs.local import LocalBlobs
from adapterworks.registry.datasets import relist as relisting
from adapterworks.registry.datasets.store import Datasets
from adapterworks.registry.index import schema
from adapterworks.registry.jobs.files import Files, NewFile
from adapterworks.registry.lifecycle import holding, leases
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.deposit import Deposit, read_deposit
from tests.registry.datasets.seals import seal_of
from tests.registry.datasets.test_store import ROWS, add
from tests.registry.releases import draft, folder, publish

TEXT = b"a tenant's own rows"
TEST = b'{"row":3}\n'


def file_of(path: Path, data: bytes = TEXT) -> NewFile:
    path.write_bytes(data)
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    return NewFile("acme", "fine-tune", path.name, path, digest, len(data))


def expiry(registry: Registry) -> list[float]:
    """In how many days each lease is over."""
    with registry.database.read() as connection:
        found = connection.scalars(sa.select(schema.leases.c.expires)).all()
    return [(float(one) - time.time()) / 86400 for one in found]


def expire(registry: Registry) -> None:
    """A day goes by."""
    with registry.database.write() as connection:
        connection.execute(
            sa.update(schema.leases)
            .where(schema.leases.c.expires < time.time() + 2 * 86400)
            .values(expires=time.time() - 1)
        )


def stored(registry: Registry) -> set[str]:
    return {blob.digest for blob in registry.blobs.list()}


def begun(registry: Registry) -> set[str]:
    with registry.database.read() as connection:
        return set(connection.scalars(sa.select(schema.begun.c.release)))


def older_index(registry: Registry, tmp_path: Path) -> Registry:
    """The registry with the index as it is now, for later."""
    registry.database.settle()
    shutil.copyfile(tmp_path / "index.db", tmp_path / "older.db")
    return Registry.open(
        database=f"sqlite:///{tmp_path / 'older.db'}",
        blobs=str(tmp_path / "blobs"),
        home=tmp_path / "home",
    )


def test_what_was_put_and_not_listed_is_collected_after_a_day(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 between the two: nobody lets go of anything."""
    monkeypatch.setattr(leases, "end", lambda connection, lease: None)

    def killed(connection: Connection, ids: Sequence[str]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Files(registry).put_with([file_of(tmp_path / "rows")], killed)
    datasets = Datasets(registry)
    monkeypatch.setattr(datasets, "_list", killed)
    with pytest.raises(TypeError):
        add(datasets, train=ROWS)
    monkeypatch.undo()
    assert max(expiry(registry)) <= 1
    assert {digest_bytes(ROWS), digest_bytes(TEXT)} < stored(registry)
    assert registry.upkeep.gc(grace=0).blobs == []
    expire(registry)
    registry.upkeep.gc(grace=0)
    assert stored(registry) == begun(registry) == set()


def test_what_is_listed_is_held_for_as_long_as_it_is_wanted(
    registry: Registry, tmp_path: Path
) -> None:
    datasets, files = Datasets(registry), Files(registry)
    add(datasets, seal=seal_of(1), train=ROWS, test=TEST)
    datasets.seal(seal_of(2), "elsewhere")
    kept = files.put(file_of(tmp_path / "rows"))
    assert min(expiry(registry)) > 50 * 365
    held = stored(registry)
    expire(registry)
    assert registry.upkeep.gc(grace=0).blobs == []
    assert stored(registry) == held
    files.delete(kept.id, "acme")
    gone = {blob.digest for blob in registry.upkeep.gc(grace=0).blobs}
    assert kept.blob in gone
    assert len(gone) == 2  # and its deposit
    assert registry.upkeep.gc(grace=0).blobs == []


def test_what_was_listed_too_late_is_not_listed(registry: Registry, tmp_path: Path) -> None:
    """A gc may have taken it."""
    files = Files(registry)

    def late(connection: Connection, ids: Sequence[str]) -> None:
        raise AssertionError("listed")

    hold = holding.deposit

    def slow(*given: object, **named: object) -> str:
        lease = hold(*given, **named)  # type: ignore[arg-type]
        expire(registry)
        return lease

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(holding, "deposit", slow)
        with pytest.raises(Conflict, match="more than a day ago"):
            files.put_with([file_of(tmp_path / "rows")], late)
        with pytest.raises(Conflict, match="more than a day ago"):
            Datasets(registry).seal(seal_of(2), "elsewhere")
    assert files.listed("acme") == ([], False)
    assert Datasets(registry).seals() == []
    assert files.put(file_of(tmp_path / "rows")).size == len(TEXT)


def test_erased_bytes_are_not_held(local_registry: Registry, tmp_path: Path) -> None:
    registry = local_registry
    files = folder(tmp_path / "release")
    (files / "predictions.jsonl").write_bytes(TEXT)
    registry.publish(files, draft(1), who="ann")
    registry.upkeep.erase(digest_bytes(TEXT), who="dpo", why="consent withdrawn")
    with pytest.raises(Refused, match=r"these bytes were erased .* consent withdrawn"):
        Files(registry).put(file_of(tmp_path / "rows"))
    with pytest.raises(Refused, match="these bytes were erased"):
        Files(registry).hold(digest_bytes(TEXT), tmp_path / "rows", 60, holder="part_1")
    assert digest_bytes(TEXT) not in stored(registry)
    assert expiry(registry) == []


def test_bytes_that_are_erased_while_they_are_put_do_not_stay(
    local_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = local_registry
    files = folder(tmp_path / "release")
    (files / "predictions.jsonl").write_bytes(TEXT)
    registry.publish(files, draft(1), who="ann")
    put = LocalBlobs.put

    def erase_then_put(store: LocalBlobs, digest: str, source: Path | bytes) -> None:
        monkeypatch.undo()
        registry.upkeep.erase(digest_bytes(TEXT), who="dpo", why="consent withdrawn")
        put(store, digest, source)

    monkeypatch.setattr(LocalBlobs, "put", erase_then_put)
    with pytest.raises(Refused, match="these bytes were erased"):
        Files(registry).put(file_of(tmp_path / "rows"))
    assert digest_bytes(TEXT) not in stored(registry)
    assert expiry(registry) == []


def test_an_index_of_before_takes_no_rows_no_seals_and_no_files(
    local_registry: Registry, tmp_path: Path
) -> None:
    registry = local_registry
    publish(registry, tmp_path, 1)
    with older_index(registry, tmp_path) as restored:
        datasets = Datasets(registry)
        made = add(datasets, seal=seal_of(1), train=ROWS, test=TEST)
        datasets.seal(seal_of(2), "elsewhere")
        Files(registry).put(file_of(tmp_path / "rows"))
        held = stored(registry)
        for dry_run in (True, False):
            with pytest.raises(Refused, match=r"has 1 datasets, 1 files, 1 seals that the index"):
                restored.upkeep.gc(grace=0, dry_run=dry_run)
        assert stored(registry) == held
        listed = relisting.relist(restored, who="ann")
        assert sorted(listed) == ["dataset:cases@1", "dataset:cases@1", "elsewhere"]
        again = Datasets(restored)
        assert again.get("cases").record == made.record
        assert again.read(made.record.splits["train"].digest) == ROWS
        assert {(one.blob, one.owner) for one in again.seals()} == {
            (digest_bytes(seal_of(1)), "dataset:cases@1"),
            (digest_bytes(seal_of(2)), "elsewhere"),
        }
        assert relisting.relist(restored, who="ann") == []
        assert relisting.count(relisting.unlisted(restored)) == {
            "datasets": 0, "seals": 0, "left": 1,
        }  # fmt: skip
        with pytest.raises(Refused, match=r"has 1 files that the index .* as the file `file-"):
            restored.upkeep.gc(grace=0)
        gone = restored.upkeep.gc(grace=0, unlisted=True).blobs
        assert {digest_bytes(TEXT)} < {blob.digest for blob in gone}
        assert len(gone) == 2
        assert again.read(made.record.splits["test"].digest) == TEST
        assert restored.upkeep.gc(grace=0).blobs == []


def test_a_test_set_whose_rows_are_gone_stays_sealed(
    local_registry: Registry, tmp_path: Path
) -> None:
    registry = local_registry
    publish(registry, tmp_path, 1)
    with older_index(registry, tmp_path) as restored:
        made = add(Datasets(registry), seal=seal_of(1), train=ROWS, test=TEST)
        registry.blobs.delete(made.record.splits["train"].digest)
        assert relisting.relist(restored, who="ann") == ["dataset:cases"]
        assert Datasets(restored).list() == []
        assert [one.blob for one in Datasets(restored).seals()] == [digest_bytes(seal_of(1))]
        restored.upkeep.gc(grace=0)
        assert Datasets(restored).read(digest_bytes(seal_of(1))) == seal_of(1)


def test_what_was_held_before_there_were_deposits_gets_one(
    local_registry: Registry, tmp_path: Path
) -> None:
    registry = local_registry
    publish(registry, tmp_path, 1)
    with older_index(registry, tmp_path) as restored:
        add(Datasets(registry), train=ROWS)
        (told,) = begun(registry)
        with registry.database.write() as connection:  # as an index of before has it
            connection.execute(sa.delete(schema.begun))
            connection.execute(
                sa.delete(schema.lease_blobs).where(schema.lease_blobs.c.blob == told)
            )
        registry.blobs.delete(told)
        registry.upkeep.gc(grace=0)
        (made,) = begun(registry)
        assert made in stored(registry)
        assert registry.upkeep.gc(grace=0).blobs == []
        assert begun(registry) == {made}  # once
        with pytest.raises(Refused, match="has 1 datasets that the index"):
            restored.upkeep.gc(grace=0)


def test_nobody_else_says_what_a_store_holds(local_registry: Registry, tmp_path: Path) -> None:
    """A tenant's file, or a file of a stranger's release, that has the form of a deposit."""
    registry = local_registry
    forged = Deposit("dataset", "cases", "0" * 32, (digest_bytes(TEXT),)).to_bytes()
    first = publish(registry, tmp_path, 1)
    record = registry.release(first.digest).to_bytes()
    for data in (forged, record):
        with pytest.raises(InvalidInput, match="which no file may be"):
            Files(registry).put(file_of(tmp_path / "rows", data))
        with pytest.raises(InvalidInput, match="which no file may be"):
            Files(registry).hold(digest_bytes(data), tmp_path / "rows", 60, holder="part_1")
    files = folder(tmp_path / "strange", 2)
    (files / "notes.json").write_bytes(forged)
    registry.publish(files, draft(2), who="eve")
    blank = Registry.open(
        database=f"sqlite:///{tmp_path / 'blank.db'}",
        blobs=str(tmp_path / "blobs"),
        home=tmp_path / "home",
    )
    with blank:
        assert blank.upkeep.unlisted_deposits() == []
        assert len(blank.upkeep.rebuild_index(who="ann")) == 2
        assert blank.upkeep.unlisted_deposits() == []


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"[]",
        b'{"artifact":"deposit"}',
        canonical_json(
            {"artifact": "deposit", "blobs": ["../x"], "holder": "", "id": "", "kind": "file",
             "schema_version": 1}
        ),
        canonical_json(
            {"artifact": "deposit", "blobs": 5, "holder": "", "id": "", "kind": "file",
             "schema_version": 1}
        ),
        Deposit("file", "f", "i", ()).to_bytes() + b" ",
        b'{"artifact":' + b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_deposit(data: bytes) -> None:
    assert read_deposit(data) is None


def test_a_deposit_byte_by_byte() -> None:
    digest = f"sha256:{'a' * 64}"
    data = Deposit("dataset", "cases", "7f", (digest,)).to_bytes()
    assert data == (
        b'{"artifact":"deposit","blobs":["' + digest.encode() + b'"],"holder":"cases","id":"7f",'
        b'"kind":"dataset","schema_version":1}'
    )
    assert read_deposit(data) == Deposit("dataset", "cases", "7f", (digest,))


def test_no_text_of_a_tenant_is_in_a_deposit(local_registry: Registry, tmp_path: Path) -> None:
    new = file_of(tmp_path / "Jane Roe.jsonl")
    file = Files(local_registry).put(new)
    (told,) = begun(local_registry)
    text = b"".join(local_registry.blobs.get(told)).decode()
    assert file.id in text
    assert "Jane" not in text
    assert "acme" not in text
