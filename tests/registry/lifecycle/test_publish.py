"""The order and the lease of a publish, watched while it puts its bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy.engine import Connection

from adapterworks.manifests.errors import Conflict, NotFound, Unavailable
from adapterworks.registry.blobs.local import LocalBlobs
from adapterworks.registry.index import lookup, schema
from adapterworks.registry.lifecycle import leases
from adapterworks.registry.lifecycle import publish as module
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.types import Resolved
from tests.registry.releases import draft, folder, publish

# `folder` has weights and config (each under two roles), a README and a lock; then the record.
BLOBS = 5


@pytest.fixture
def puts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The digests that are put, in order."""
    done: list[str] = []
    put = LocalBlobs.put

    def noted(store: LocalBlobs, digest: str, source: Path | bytes) -> None:
        done.append(digest)
        put(store, digest, source)

    monkeypatch.setattr(LocalBlobs, "put", noted)
    return done


def held(registry: Registry) -> int:
    """How many leases there are."""
    with registry.database.read() as connection:
        return len(connection.execute(schema.leases.select()).all())


def test_the_record_is_put_last(local_registry: Registry, tmp_path: Path, puts: list[str]) -> None:
    """A record that is there names bytes that are there, whenever the publisher was killed."""
    published = publish(local_registry, tmp_path)
    assert len(puts) == BLOBS
    assert puts[-1] == published.digest
    assert held(local_registry) == 0


@pytest.mark.parametrize(
    ("seconds", "renewals"),
    [
        (100.0, 0),  # 5 puts take 500 s, a lease holds 3600 and is renewed after 900
        (900.0, 2),  # a quarter of a lease to the second is not yet more than one
        (500.0, 2),  # before the 3rd and the 5th: at 1000 and 2000 s
        (1000.0, 4),  # before each but the first
    ],
)
def test_a_lease_is_renewed_while_the_bytes_are_put(
    local_registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    renewals: int,
) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    put, renewed = LocalBlobs.put, []

    def slow(store: LocalBlobs, digest: str, source: Path | bytes) -> None:
        put(store, digest, source)
        clock.now += seconds

    renew = leases.renew

    def noted(connection: object, lease: str) -> bool:
        renewed.append(clock.now)
        return renew(connection, lease)  # type: ignore[arg-type]

    monkeypatch.setattr(LocalBlobs, "put", slow)
    monkeypatch.setattr(leases, "renew", noted)
    publish(local_registry, tmp_path)
    assert len(renewed) == renewals
    assert local_registry.upkeep.verify().clean


def test_a_lease_that_is_lost_while_the_bytes_are_put_is_taken_anew(
    local_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, puts: list[str]
) -> None:
    clock = SimpleNamespace(now=0.0)

    def monotonic() -> float:
        clock.now += 1000.0
        return clock.now

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=monotonic))
    answers = iter([False])
    renew: Callable[..., bool] = leases.renew
    monkeypatch.setattr(
        leases, "renew", lambda c, lease: next(answers, None) is None and renew(c, lease)
    )
    published = publish(local_registry, tmp_path)
    assert published.version == 1
    assert len(puts) == BLOBS  # none before the renewal failed, all after
    assert held(local_registry) == 1  # the lost one, which gc sweeps


def test_a_put_that_fails_gives_its_lease_back(
    local_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = LocalBlobs.put

    def full(store: LocalBlobs, digest: str, source: Path | bytes) -> None:
        if isinstance(source, bytes):
            assert held(local_registry) == 1
            raise Unavailable("no space left")
        put(store, digest, source)

    monkeypatch.setattr(LocalBlobs, "put", full)
    with pytest.raises(Unavailable, match="no space left"):
        publish(local_registry, tmp_path)
    assert held(local_registry) == 0
    assert local_registry.names() == []
    assert len(local_registry.upkeep.gc(grace=0).blobs) == BLOBS - 1


def test_a_lease_holds_every_blob_of_the_release(
    local_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = module._list
    seen: list[set[str]] = []

    def noted(database: object, release: object, *arguments: object) -> object:
        with local_registry.database.read() as connection:
            seen.append(
                set(
                    connection.scalars(
                        schema.lease_blobs.select().with_only_columns(schema.lease_blobs.c.blob)
                    )
                )
            )
        return listing(database, release, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_list", noted)
    publish(local_registry, tmp_path)
    assert seen == [{info.digest for info in local_registry.blobs.list()}]
    assert len(seen[0]) == BLOBS


@pytest.mark.parametrize(
    ("said", "author", "named"),
    [("ann", "team", "ann"), ("", "team", "team"), ("", "", "unnamed")],
)
def test_a_release_is_by_whom_it_says_else_by_the_registrys_author(
    local_registry: Registry, tmp_path: Path, said: str, author: str, named: str
) -> None:
    local_registry.author = author
    published = publish(local_registry, tmp_path, created_by=said)
    assert local_registry.release(published.digest).created_by == named


def test_what_a_guard_refuses_is_not_listed(local_registry: Registry, tmp_path: Path) -> None:
    def guard(connection: object) -> None:
        raise Conflict("whoever publishes was taken for dead")

    made = folder(tmp_path / "made")
    with pytest.raises(Conflict, match="taken for dead"):
        local_registry.publish(made, draft(), who="tester", guard=guard)
    assert local_registry.versions("medical") == []
    assert local_registry.publish(made, draft(), who="tester", guard=lambda _: None).version == 1


def test_a_release_that_is_listed_between_two_looks_is_found(
    local_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL each statement sees what is there by then: an answer, or that there is none."""
    published = publish(local_registry, tmp_path)
    look, looks = lookup.find_live, []

    def not_yet(connection: Connection, digest: str) -> Resolved | None:
        looks.append(digest)
        return look(connection, digest) if len(looks) > 1 else None

    monkeypatch.setattr(lookup, "find_live", not_yet)
    assert local_registry.find(published.digest).version == 1
    looks.clear()
    local_registry.delete("medical", 1, who="ann")
    looks.clear()
    with pytest.raises(NotFound, match="deleted"):
        local_registry.find(published.digest)
