"""The store cannot be erased by mistake: by a blank index, a wrong one, or an old copy."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import IntegrityError, NotFound, Refused
from adapterworks.registry.blobs.local import LocalBlobs
from adapterworks.registry.blobs.marker import read_marker, write_marker
from adapterworks.registry.blobs.store import Store
from adapterworks.registry.index import schema, stores
from adapterworks.registry.index.database import Database
from adapterworks.registry.lifecycle import gc as collecting
from adapterworks.registry.lifecycle.identity import require_own, shown
from adapterworks.registry.registry import Registry
from tests.registry.releases import draft, folder, publish


@pytest.fixture
def prod(local_registry: Registry, tmp_path: Path) -> Registry:
    """A registry with two releases, one of them deleted."""
    publish(local_registry, tmp_path, 1, alias="prod")
    publish(local_registry, tmp_path, 2)
    local_registry.delete("medical", 2, who="ann")
    return local_registry


def other(tmp_path: Path, *, index: str = "other.db", blobs: str = "blobs") -> Registry:
    """A registry with another index or another store beside the fixture's."""
    return Registry.open(
        database=f"sqlite:///{tmp_path / index}", blobs=str(tmp_path / blobs), home=tmp_path / "h"
    )


def bytes_of(registry: Registry) -> set[str]:
    return {blob.digest for blob in registry.blobs.list()}


def test_index_and_store_get_one_id_with_the_first_write(
    registry: Registry, tmp_path: Path
) -> None:
    assert registry.blobs.identity() is None
    publish(registry, tmp_path)
    with registry.database.read() as connection:
        own = stores.identity(connection)
    assert own is not None
    assert registry.blobs.identity() == own


def test_who_comes_second_is_not_taken_for_another_index(
    local_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two first publishers, one has the other's bytes before it and no record of them yet."""
    is_blank = stores.is_blank

    def meanwhile(connection: sa.Connection) -> bool:
        monkeypatch.undo()
        blank = is_blank(connection)
        require_own(local_registry.database, local_registry.blobs)
        local_registry.blobs.put(digest_bytes(b"1"), b"1")
        return blank

    monkeypatch.setattr(stores, "is_blank", meanwhile)
    with other(tmp_path, index="index.db") as second:
        require_own(second.database, second.blobs)


def test_a_blank_index_neither_collects_nor_publishes(prod: Registry, tmp_path: Path) -> None:
    before = bytes_of(prod)
    with other(tmp_path) as blank:
        for dry_run in (True, False):
            with pytest.raises(Refused, match=r"other\.db` is empty and .* is not"):
                blank.upkeep.gc(grace=0, dry_run=dry_run)
        with pytest.raises(Refused, match="do not belong together"):
            publish(blank, tmp_path, 3)
        assert blank.names() == []
    assert bytes_of(prod) == before


def test_a_blank_index_does_not_take_a_store_that_has_no_id_yet(
    prod: Registry, tmp_path: Path
) -> None:
    (tmp_path / "blobs" / "adapterworks.json").unlink()
    with other(tmp_path) as blank, pytest.raises(Refused, match="is empty and"):
        blank.upkeep.gc(grace=0)
    assert prod.blobs.identity() is None


def test_the_index_of_another_registry_is_refused_and_verify_says_so(
    prod: Registry, tmp_path: Path
) -> None:
    with other(tmp_path, blobs="elsewhere") as own:
        publish(own, tmp_path, 3, name="code")
    before = bytes_of(prod)
    with other(tmp_path) as wrong:
        with pytest.raises(Refused, match="is another index's store"):
            wrong.upkeep.gc(grace=0)
        with pytest.raises(Refused, match="is another index's store"):
            publish(wrong, tmp_path, 4)
        with pytest.raises(Refused, match="is another index's store"):
            wrong.upkeep.erase(next(iter(before)), who="ann", why="x")
        assert "is another index's store" in wrong.upkeep.verify().problems[0].message
        with pytest.raises(Refused, match="is another index's store"):
            wrong.upkeep.verify(repair_from=LocalBlobs(tmp_path / "elsewhere"))
    assert bytes_of(prod) == before
    assert prod.upkeep.verify().clean


def test_a_store_without_what_the_index_lists_is_refused(prod: Registry, tmp_path: Path) -> None:
    """Somebody forgot `ADAPTERS_BLOBS`: what he publishes nobody else could read."""
    with (
        other(tmp_path, index="index.db", blobs="forgotten") as wrong,
        pytest.raises(Refused, match="has none of the releases"),
    ):
        publish(wrong, tmp_path, 3)
    assert not (tmp_path / "forgotten" / "sha256").exists()
    publish(prod, tmp_path, 3)


def test_an_index_and_a_store_of_before_adopt_one_id(prod: Registry, tmp_path: Path) -> None:
    (tmp_path / "blobs" / "adapterworks.json").unlink()
    with prod.database.write() as connection:
        connection.execute(sa.delete(schema.store))
    with other(tmp_path, index="index.db") as old:
        assert len(old.upkeep.gc(grace=0).blobs) == 3
        publish(old, tmp_path, 3)
        with old.database.read() as connection:
            assert old.blobs.identity() == stores.identity(connection) is not None


def test_a_copied_store_keeps_its_id_and_is_the_same_one(prod: Registry, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "blobs", tmp_path / "moved")
    with other(tmp_path, index="index.db", blobs="moved") as moved:
        publish(moved, tmp_path, 3)
        assert moved.upkeep.verify().clean


def test_an_index_that_is_older_than_the_store_collects_nothing(
    prod: Registry, tmp_path: Path
) -> None:
    prod.close()
    shutil.copyfile(tmp_path / "index.db", tmp_path / "restored.db")
    published = publish(prod, tmp_path, 3)
    before = bytes_of(prod)
    with other(tmp_path, index="restored.db") as restored:
        with pytest.raises(Refused, match=r"1 releases that the index .* never listed") as error:
            restored.upkeep.gc(grace=0)
        assert published.digest[7:19] in error.value.message
        assert bytes_of(prod) == before
        assert prod.upkeep.verify().clean
        taken = restored.upkeep.gc(grace=0, unlisted=True)
    assert published.digest in {blob.digest for blob in taken.blobs}


def test_the_record_of_a_killed_publish_is_no_release_of_somebody_else(
    prod: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = LocalBlobs.put

    def put_and_die(store: LocalBlobs, digest: str, source: Path | bytes) -> None:
        put(store, digest, source)
        if isinstance(source, bytes):  # the record: the last one
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LocalBlobs, "put", put_and_die)
        with pytest.raises(KeyboardInterrupt):
            publish(prod, tmp_path, 3)
    assert len(prod.upkeep.gc(grace=0).blobs) == 6
    with prod.database.read() as connection:
        assert connection.execute(sa.select(schema.begun)).all() == []
    assert prod.upkeep.verify().clean


def test_what_nothing_needs_lies_in_the_trash_for_the_grace(prod: Registry, tmp_path: Path) -> None:
    now = time.time()
    for path in (tmp_path / "blobs" / "sha256").rglob("*"):
        os.utime(path, (now - 7200, now - 7200))
    moved = prod.upkeep.gc()
    assert len(moved.blobs) == 3
    assert moved.deleted == []
    assert moved.trash == 3
    assert bytes_of(prod).isdisjoint(blob.digest for blob in moved.blobs)
    trashed = list(prod.blobs.list_discarded())
    assert {blob.digest for blob in trashed} == {blob.digest for blob in moved.blobs}
    assert all(blob.modified >= now - 1 for blob in trashed)  # since when it is there
    assert prod.upkeep.gc().deleted == []
    for path in (tmp_path / "blobs" / "trash").rglob("*"):
        os.utime(path, (now - 7 * 86400 - 1, now - 7 * 86400 - 1))
    assert len(prod.upkeep.gc(dry_run=True).deleted) == 3
    assert len(list(prod.blobs.list_discarded())) == 3
    assert len(prod.upkeep.gc().deleted) == 3
    assert list(prod.blobs.list_discarded()) == []


def test_what_is_needed_again_comes_back_from_the_trash(prod: Registry) -> None:
    digest = prod.resolve("medical:prod").digest
    prod.blobs.discard(digest)  # as a gc on a copy of the index would
    assert [problem.kind for problem in prod.upkeep.verify().problems] == ["missing"]
    assert [blob.digest for blob in prod.upkeep.gc(dry_run=True).recovered] == [digest]
    assert not prod.upkeep.verify().clean
    assert [blob.digest for blob in prod.upkeep.gc(grace=0).recovered] == [digest]
    assert prod.upkeep.verify().clean
    assert list(prod.blobs.list_discarded()) == []


def test_a_publish_puts_anew_what_lies_in_the_trash(prod: Registry, tmp_path: Path) -> None:
    digest = digest_bytes(b"weights 2" * 50)
    prod.blobs.discard(digest)
    assert publish(prod, tmp_path, 2).version == 3
    assert prod.upkeep.verify().clean
    assert [blob.digest for blob in prod.upkeep.gc(grace=0).deleted] == [digest]
    assert prod.upkeep.verify().clean


def test_a_publish_waits_while_a_gc_moves_its_bytes(
    prod: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = digest_bytes(b"weights 2" * 50)
    assert prod.blobs.exists(digest)
    waited = []
    with prod.database.write() as connection:
        stores.doom(connection, [digest], 60)

    def gc_ends(seconds: float) -> None:
        waited.append(seconds)
        prod.blobs.discard(digest)
        with prod.database.write() as connection:
            stores.forgive(connection, [digest])

    clock = SimpleNamespace(sleep=gc_ends)
    monkeypatch.setattr("adapterworks.registry.lifecycle.holding.time", clock)
    publish(prod, tmp_path, 2)
    assert len(waited) == 1
    assert prod.upkeep.verify().clean


def test_a_blob_that_became_needed_while_it_was_moved_comes_back(
    prod: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    discard = LocalBlobs.discard

    def discard_late(store: LocalBlobs, digest: str) -> None:
        """The mark has run out, and a lease was taken by somebody who saw the blob."""
        with prod.database.write() as connection:
            collecting.leases.take(connection, "publish", [digest])
        discard(store, digest)

    monkeypatch.setattr(LocalBlobs, "discard", discard_late)
    # At once, not only when the trash is emptied, which would see to it too.
    monkeypatch.setattr(LocalBlobs, "list_discarded", lambda store: iter(()))
    before = bytes_of(prod)
    assert prod.upkeep.gc(grace=0).blobs == []
    assert bytes_of(prod) == before


def test_what_is_moved_is_marked_as_long_as_it_is_moved(
    prod: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    discard, marked = LocalBlobs.discard, []

    def discard_and_look(store: LocalBlobs, digest: str) -> None:
        with prod.database.read() as connection:
            marked.append((digest, stores.are_doomed(connection, [digest])))
        discard(store, digest)

    monkeypatch.setattr(LocalBlobs, "discard", discard_and_look)
    assert len(prod.upkeep.gc(grace=0).blobs) == 3
    assert [doomed for _, doomed in marked] == [True] * 3
    with prod.database.read() as connection:
        assert not stores.are_doomed(connection, [digest for digest, _ in marked])


def test_a_deletion_without_a_reason_is_told_without_one(prod: Registry) -> None:
    with pytest.raises(NotFound, match="was deleted by ann at") as error:
        prod.resolve("medical@2")
    assert not error.value.message.rstrip().endswith(":")


def test_nothing_is_locked_while_blobs_are_moved(
    prod: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    discard, free = LocalBlobs.discard, []

    def discard_slowly(store: LocalBlobs, digest: str) -> None:
        prod.log.note("medical", 1, "feedback", who="ann")  # would wait for a minute, and fail
        free.append(digest)
        discard(store, digest)

    monkeypatch.setattr(LocalBlobs, "discard", discard_slowly)
    assert len(prod.upkeep.gc(grace=0).blobs) == len(free) == 3


def test_erased_bytes_do_not_lie_in_the_trash(prod: Registry) -> None:
    release = prod.release(prod.resolve("medical:prod").digest)
    digest = release.files["README.md"].digest
    prod.blobs.discard(digest)
    prod.upkeep.erase(digest, who="ann", why="consent withdrawn")
    assert list(prod.blobs.list_discarded()) == []


def test_the_marker_byte_by_byte() -> None:
    own = "8c6f" * 8
    assert write_marker(own) == b'{"schema_version":1,"store":"%s"}' % own.encode()
    assert read_marker(write_marker(own), "x") == own
    for data in (b"[]", b"5", b"no json", b"{}", b'{"store": "8c6f"}', b'{"store": 5}'):
        with pytest.raises(IntegrityError, match="`x` does not say whose"):
            read_marker(data, "x")


def test_the_index_of_another_store_is_not_filled_from_this_one(
    prod: Registry, tmp_path: Path
) -> None:
    with other(tmp_path, blobs="elsewhere") as own:
        publish(own, tmp_path, 3, name="code")
    with other(tmp_path) as wrong:
        with pytest.raises(Refused, match="is another index's store"):
            wrong.upkeep.rebuild_index(who="ann")
        assert wrong.names() != []
        assert "medical" not in str(wrong.names())


def test_a_publish_that_was_killed_is_listed_and_its_note_taken_back(
    prod: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = publish(prod, tmp_path, 3)
    with prod.database.write() as connection:
        for _ in range(2):  # a publish that is tried again begins again
            stores.begin(connection, release.digest)
        stores.begin(connection, digest_bytes(b"another"))
        assert len(connection.execute(sa.select(schema.begun)).all()) == 2
        stores.doom(connection, [], 60)
        assert connection.execute(sa.select(schema.doomed)).all() == []
    prod.close()
    with other(tmp_path, index="lost.db") as blank:
        with blank.database.write() as connection:
            stores.begin(connection, release.digest)
        assert len(blank.upkeep.rebuild_index(who="ann")) == 3
        with blank.database.read() as connection:
            assert connection.execute(sa.select(schema.begun)).all() == []


def test_a_store_that_has_one_of_the_newest_is_this_indexs(prod: Registry, tmp_path: Path) -> None:
    (tmp_path / "blobs" / "adapterworks.json").unlink()
    with prod.database.write() as connection:
        connection.execute(sa.delete(schema.store))
    lost = publish(prod, tmp_path, 3).digest
    prod.blobs.delete(lost)
    with other(tmp_path, index="index.db") as again:
        assert publish(again, tmp_path, 4).version == 4


def test_a_marker_that_says_nothing_is_a_fault(prod: Registry, tmp_path: Path) -> None:
    marker = tmp_path / "blobs" / "adapterworks.json"
    marker.chmod(0o644)
    marker.write_text('{"store": "x"}')
    with other(tmp_path, index="index.db") as again, pytest.raises(IntegrityError, match="whose"):
        again.upkeep.gc()


def test_a_store_of_each_kind_has_an_id_and_a_trash(blobs: Store) -> None:
    assert blobs.identity() is None
    one, two = "1" * 32, "2" * 32
    assert (blobs.claim(one), blobs.claim(two), blobs.identity()) == (one, one, one)
    data = b"some bytes"
    digest = digest_bytes(data)
    for missing in (blobs.discard, blobs.recover, blobs.delete_discarded):
        missing(digest)
    blobs.put(digest, data)
    blobs.discard(digest)
    assert not blobs.exists(digest)
    assert list(blobs.list()) == []
    assert [blob.digest for blob in blobs.list_discarded()] == [digest]
    blobs.recover(digest)
    assert b"".join(blobs.get(digest)) == data
    blobs.discard(digest)
    blobs.delete(digest)
    assert list(blobs.list_discarded()) == []


def test_the_index_is_made_again_from_the_store(prod: Registry, tmp_path: Path) -> None:
    later = publish(prod, tmp_path, 3, plan="sha256:" + "7" * 64)
    code = publish(prod, tmp_path, 4, name="code")
    prod.upkeep.gc(grace=0)
    prod.close()
    with other(tmp_path) as blank:
        assert [item.state for item in blank.upkeep.unlisted()] == ["whole"] * 3
        listed = blank.upkeep.rebuild_index(who="ann")
        assert [str(item) for item in listed] == ["code@1", "medical@1", "medical@2"]
        assert blank.resolve("medical@2").digest == later.digest
        assert blank.resolve("code@1").digest == code.digest
        assert (
            blank.origins.find_plan("medical", "sha256:" + "7" * 64) is None
        )  # nobody knows that it was built here
        assert blank.upkeep.verify().clean
        assert blank.upkeep.gc(grace=0).blobs == []
        assert blank.upkeep.rebuild_index(who="ann") == []
        publish(blank, tmp_path, 5)


def test_what_is_rebuilt_lacks_what_the_store_lacks(prod: Registry, tmp_path: Path) -> None:
    release = prod.release(prod.resolve("medical:prod").digest)
    broken = prod.release(publish(prod, tmp_path, 3).digest)
    prod.upkeep.gc(grace=0)
    prod.blobs.delete(release.files["adapter.lock"].digest)
    prod.blobs.delete(broken.files["adapter/adapter_model.safetensors"].digest)
    with other(tmp_path) as blank:
        states = {item.release.digest: item.state for item in blank.upkeep.unlisted()}
        assert states == {release.digest: "whole", broken.digest: "incomplete"}
        assert [item.digest for item in blank.upkeep.rebuild_index(who="ann")] == [release.digest]
        report = blank.upkeep.verify()
    assert report.clean
    assert [(item.path, item.state) for item in report.absent] == [("adapter.lock", "withheld")]


def test_a_copy_of_a_record_in_a_release_is_no_version(prod: Registry, tmp_path: Path) -> None:
    prod.upkeep.gc(grace=0)
    mine = prod.release(prod.resolve("medical:prod").digest)
    files = folder(tmp_path / "stranger", 7)
    (files / "copy.json").write_bytes(mine.to_bytes())
    prod.publish(files, draft(7, name="stranger"), who="ann")
    with other(tmp_path) as blank:
        states = {item.release.name: item.state for item in blank.upkeep.unlisted()}
        assert states == {"medical": "copy", "stranger": "whole"}
        assert [item.name for item in blank.upkeep.rebuild_index(who="ann")] == ["stranger"]
        taken = blank.upkeep.rebuild_index(take=[mine.digest], who="ann")
        assert [item.digest for item in taken] == [mine.digest]


def test_an_index_is_named_without_its_password(tmp_path: Path) -> None:
    database = Database("postgresql+psycopg://ann:secret@host/registry")
    assert shown(database) == "postgresql+psycopg://ann:***@host/registry"
