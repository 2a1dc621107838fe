"""Rows that are written once and taken away whole, counted in the tables themselves."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from adapterworks.registry.index import absences, links, migrations, schema
from adapterworks.registry.index.database import Database
from adapterworks.registry.lifecycle import leases, signing
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Parent, Release
from tests.registry.releases import draft, publish


def count(registry: Registry, table: sa.Table) -> int:
    with registry.database.read() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)


def test_a_lease_that_ends_leaves_no_rows(local_registry: Registry, tmp_path: Path) -> None:
    published = publish(local_registry, tmp_path)
    before = count(local_registry, schema.lease_blobs)
    with local_registry.hold(published.digest, kind="serving"):
        assert count(local_registry, schema.lease_blobs) > before
    assert count(local_registry, schema.lease_blobs) == before == 0
    assert count(local_registry, schema.leases) == 0
    with local_registry.database.write() as connection:
        leases.take(connection, "serving", ["sha256:x", "sha256:x"], seconds=-1.0)
        assert leases.sweep(connection) == 1
    assert count(local_registry, schema.lease_blobs) == 0


def test_what_was_withheld_twice_is_noted_once(local_registry: Registry) -> None:
    with local_registry.database.write() as connection:
        for release in ("sha256:r", "sha256:r", "sha256:other"):
            absences.withhold(connection, release, "sha256:b", who="ann", why="not sent")
    assert count(local_registry, schema.absences) == 2


def test_a_signature_that_comes_twice_is_kept_once(local_registry: Registry) -> None:
    with local_registry.database.write() as connection:
        for bundle in ("one", "one", "two"):
            signing.receive(connection, "sha256:r", {"sha256:k": bundle}, who="ann")
        found = signing.known(connection, "sha256:r")
    assert {key: sorted(held) for key, held in found.items()} == {"sha256:k": ["one", "two"]}


@pytest.mark.parametrize("reverse", [False, True])
def test_links_are_inserted_once_whatever_the_order(
    local_registry: Registry, reverse: bool
) -> None:
    parents = (Parent(relation="start", digest=f"sha256:{'a' * 64}"),)
    made = [Release.from_draft(draft(n, parents=parents), {}) for n in range(3)]
    with local_registry.database.write() as connection:
        links.insert_links(connection, made, [r.digest for r in made], built=True)
    before = count(local_registry, schema.release_links)
    assert before >= 3
    again = made[::-1] if reverse else made
    with local_registry.database.write() as connection:
        links.insert_links(connection, again, [r.digest for r in again], built=True)
    assert count(local_registry, schema.release_links) == before


def test_a_database_that_is_closed_holds_no_file(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    database = Database(f"sqlite:///{path}")
    database.migrate(migrations.NAMESPACE, migrations.MIGRATIONS)

    def held() -> list[str]:
        return [
            file.path for file in psutil.Process().open_files() if file.path.startswith(str(path))
        ]

    assert held() != []
    database.close()
    assert held() == []
