"""Garbage collection: what live versions, leases and the grace period need stays; the rest goes."""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import NotFound
from adapterworks.registry.blobs.local import LocalBlobs
from adapterworks.registry.index import schema
from adapterworks.registry.lifecycle import gc as collecting
from adapterworks.registry.lifecycle import leases
from adapterworks.registry.registry import Registry
from tests.registry.releases import publish


def stored(registry: Registry) -> set[str]:
    return {info.digest for info in registry.blobs.list()}


def test_a_dry_run_says_what_and_how_much_and_removes_nothing(
    registry: Registry, tmp_path: Path
) -> None:
    publish(registry, tmp_path, 1)
    doomed = publish(registry, tmp_path, 2)
    record = registry.release(doomed.digest)
    registry.delete("medical", 2, who="ann")
    before = stored(registry)
    planned = registry.upkeep.gc(grace=0, dry_run=True)
    assert stored(registry) == before
    own = {
        record.files[path].digest for path in ("adapter.lock", "servable/adapter_model.safetensors")
    }
    assert {blob.digest for blob in planned.blobs} == {doomed.digest, *own}
    assert planned.bytes == sum(blob.size for blob in planned.blobs) > 0
    done = registry.upkeep.gc(grace=0)
    assert {blob.digest for blob in done.blobs} == {blob.digest for blob in planned.blobs}
    assert stored(registry) == before - {doomed.digest, *own}
    assert registry.upkeep.verify().clean  # what both versions shared is still there


def test_the_grace_period_keeps_young_blobs(registry: Registry, tmp_path: Path) -> None:
    publish(registry, tmp_path)
    registry.delete("medical", 1, who="ann")
    report = registry.upkeep.gc(grace=60)
    assert report.blobs == []
    assert report.young == len(stored(registry)) > 0


@pytest.mark.parametrize("kind", ["build", "serving"])
def test_a_lease_keeps_a_deleted_release_until_it_ends(
    registry: Registry, tmp_path: Path, kind: str
) -> None:
    published = publish(registry, tmp_path)
    before = stored(registry)
    with registry.hold(published.digest, kind=kind) as lease:
        registry.delete("medical", 1, who="ann")
        assert registry.upkeep.gc(grace=0).blobs == []
        lease.renew()
        assert stored(registry) == before
    registry.upkeep.gc(grace=0)
    assert stored(registry) == set()


def test_the_lease_of_a_dead_holder_expires(registry: Registry, tmp_path: Path) -> None:
    published = publish(registry, tmp_path)
    lease = registry.hold(published.digest, kind="serving", seconds=-1)
    registry.delete("medical", 1, who="ann")
    report = registry.upkeep.gc(grace=0)
    assert report.leases == 1
    assert stored(registry) == set()
    with pytest.raises(NotFound, match="was deleted by ann"):
        lease.renew()


def test_an_expired_lease_on_a_live_release_is_taken_anew(
    registry: Registry, tmp_path: Path
) -> None:
    published = publish(registry, tmp_path)
    lease = registry.hold(published.digest, kind="serving", seconds=-1)
    registry.upkeep.gc(grace=0)
    lease.renew()
    with registry.database.read() as connection:
        assert connection.execute(schema.leases.select()).one().kind == "serving"


@pytest.mark.parametrize("late", [False, True])
def test_a_publish_whose_lease_has_expired_looks_again(
    local_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """The publisher slept for hours between putting and listing; gc took its bytes meanwhile.

    Its lease was swept before, or is still there: another gc may be the one that sweeps.
    """
    put, swept = LocalBlobs.put, []
    if late:
        monkeypatch.setattr(leases, "sweep", lambda connection: 0)

    def put_then_sleep(store: LocalBlobs, digest: str, source: Path | bytes) -> None:
        put(store, digest, source)
        if isinstance(source, bytes) and not swept:  # the record: the last one
            with local_registry.database.write() as connection:
                connection.execute(schema.leases.update().values(expires=time.time() - 1))
            swept.append(len(local_registry.upkeep.gc(grace=0).blobs))

    monkeypatch.setattr(LocalBlobs, "put", put_then_sleep)
    published = publish(local_registry, tmp_path)
    assert swept[0] > 0
    assert published.version == 1
    assert local_registry.upkeep.verify().clean


@pytest.mark.parametrize("act", [leases.renew, leases.end])
def test_a_lease_that_has_expired_is_lost_swept_or_not(
    registry: Registry, act: Callable[[Connection, str], bool]
) -> None:
    with registry.database.write() as connection:
        over = leases.take(connection, "publish", [], seconds=-1)
        lasts = leases.take(connection, "publish", [])
        assert act(connection, lasts) is True
        assert act(connection, over) is False
        leases.end(connection, over)
        left = connection.scalars(sa.select(schema.leases.c.id)).all()
        assert left == ([lasts] if act is leases.renew else [])


def test_foreign_bytes_and_orphans_of_killed_publishes_go(
    registry: Registry, tmp_path: Path
) -> None:
    orphan = b"put, but its publisher was killed before listing"
    publish(registry, tmp_path)
    registry.blobs.put(digest_bytes(orphan), orphan)
    assert [blob.digest for blob in registry.upkeep.gc(grace=0).blobs] == [digest_bytes(orphan)]


def test_what_else_lies_where_files_are_staged_stays_however_old(
    local_registry: Registry, tmp_path: Path
) -> None:
    """`ADAPTERS_BLOBS=/data` makes `/data/tmp` such a folder, which is somebody's too."""
    publish(local_registry, tmp_path)
    blobs = local_registry.blobs
    assert isinstance(blobs, LocalBlobs)
    folders = (blobs.staging, local_registry.checkouts / "tmp", local_registry.arriving,
               local_registry.uploads)  # fmt: skip
    mine = [folder / name for folder in folders for name in ("my-project", "thesis.txt")]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix:
            path.write_text("mine")
        else:
            path.mkdir()
            (path / "file").write_text("mine")
        os.utime(path, (0, 0))
    assert local_registry.upkeep.gc(grace=0).staged == 0
    assert all(path.exists() for path in mine)


def test_staged_leftovers_go_after_a_day_and_never_sooner(
    local_registry: Registry, tmp_path: Path
) -> None:
    publish(local_registry, tmp_path)
    blobs = local_registry.blobs
    assert isinstance(blobs, LocalBlobs)
    local_registry.arriving.mkdir()
    old, new = blobs.staging / uuid.uuid4().hex, blobs.staging / uuid.uuid4().hex
    older = local_registry.arriving / f"token-{'a' * 64}"
    local_registry.uploads.mkdir()
    oldest, newest = (local_registry.uploads / f"upload-{name}" for name in "xy")
    for path in (old, older, oldest, new, newest):
        path.write_bytes(b"half")
    long_ago = time.time() - 2 * 86400
    for path in (old, older, oldest):
        os.utime(path, (long_ago, long_ago))
    assert local_registry.upkeep.gc(grace=0).staged == 3
    assert not any(path.exists() for path in (old, older, oldest))
    assert new.exists()
    assert newest.exists()


def test_checkouts_of_deleted_releases_go(registry: Registry, tmp_path: Path) -> None:
    kept, gone = publish(registry, tmp_path, 1), publish(registry, tmp_path, 2)
    folders = [registry.checkout(item.digest, "servable") for item in (kept, gone)]
    registry.delete("medical", 2, who="ann")
    assert registry.upkeep.gc(grace=0).checkouts == [gone.digest]
    assert [folder.exists() for folder in folders] == [True, False]


def test_a_lease_is_only_given_on_what_is_there(registry: Registry) -> None:
    with pytest.raises(NotFound):
        registry.hold(f"sha256:{'0' * 64}", kind="serving")
    with registry.database.write() as connection:
        assert leases.renew(connection, "no such lease") is False
        assert leases.end(connection, "no such lease") is False


def test_a_checkout_that_is_served_stays_until_its_lease_ends(
    local_registry: Registry, tmp_path: Path
) -> None:
    served = publish(local_registry, tmp_path, 1)
    folder = local_registry.checkout(served.digest, "servable")
    with local_registry.hold(served.digest, kind="serving"):
        local_registry.delete("medical", 1, who="ann")
        assert local_registry.upkeep.gc(grace=0).checkouts == []
        assert folder.exists()
    assert local_registry.upkeep.gc(grace=0).checkouts == [served.digest]
    assert not folder.exists()


def test_a_young_checkout_and_a_dry_run_keep_it(local_registry: Registry, tmp_path: Path) -> None:
    gone = publish(local_registry, tmp_path, 1)
    folder = local_registry.checkout(gone.digest, "servable")
    local_registry.delete("medical", 1, who="ann")
    assert local_registry.upkeep.gc(grace=60).checkouts == []
    assert local_registry.upkeep.gc(grace=0, dry_run=True).checkouts == [gone.digest]
    assert folder.exists()


def test_a_checkout_is_removed_by_whoever_holds_its_lock(
    local_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a maker could rename a whole folder to where half of the old one is."""
    gone = publish(local_registry, tmp_path, 1)
    local_registry.checkout(gone.digest, "servable")
    local_registry.delete("medical", 1, who="ann")
    remove, tried = collecting.remove_tree, []

    def watched(folder: Path, root: Path) -> None:
        lock = root / "locks" / folder.name[:2]
        with lock.open("w") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        tried.append(folder.name)
        remove(folder, root)

    monkeypatch.setattr(collecting, "remove_tree", watched)
    local_registry.upkeep.gc(grace=0)
    assert tried == [gone.digest.removeprefix("sha256:")]


def test_what_is_kept_is_counted(local_registry: Registry, tmp_path: Path) -> None:
    publish(local_registry, tmp_path, 1)
    report = local_registry.upkeep.gc(grace=0)
    # Weights, config, README, lock and the record.
    assert (report.kept, report.young, report.blobs, report.staged) == (5, 0, [], 0)
    assert local_registry.upkeep.gc(grace=60).young == 5


def test_all_batches_are_judged(
    local_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "BATCH", 2)
    publish(local_registry, tmp_path, 1)
    local_registry.delete("medical", 1, who="ann")
    assert len(local_registry.upkeep.gc(grace=0).blobs) == 5
    assert stored(local_registry) == set()


def test_a_lease_that_ends_in_a_moment_still_holds(
    local_registry: Registry, tmp_path: Path
) -> None:
    published = publish(local_registry, tmp_path)
    lease = local_registry.hold(published.digest, kind="serving", seconds=60)
    local_registry.delete("medical", 1, who="ann")
    report = local_registry.upkeep.gc(grace=0)
    assert (report.leases, report.blobs) == (0, [])
    lease.end()
    assert len(local_registry.upkeep.gc(grace=0).blobs) == 5
