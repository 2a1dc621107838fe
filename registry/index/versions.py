"""The index of names and versions.

Invariants:
- A version's number is allocated and its row written in one write transaction, last, when all its
  bytes are in the blob store: what the index lists is complete, and a name's versions are
  1, 2, 3, … without a gap, whoever publishes.
- A number is never used twice: a deleted version leaves a tombstone.
- `revision` grows in every transaction that changes what a ref may resolve to.

All functions take the connection of a transaction (`Database.read` or `Database.write`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import Conflict
from adapterworks.registry.index import links, log, lookup, schema
from adapterworks.registry.releases.release import Release
from adapterworks.registry.releases.types import now

RECORD_PATH = ""

_names, _versions, _aliases = schema.names, schema.versions, schema.aliases
_blobs, _revision = schema.release_blobs, schema.revision


def insert_versions(
    connection: Connection,
    name: str,
    releases: Sequence[Release],
    *,
    who: str,
    why: str = "",
    built: bool = True,
) -> list[int]:
    """Append releases to a name as its next versions, in order; returns their numbers.

    The caller has put every blob and record first. No release may be live already.

    Args:
        built: whether they were made here. A record that came from elsewhere may claim any plan, so
            its plan is not one that a build is spared for.
    """
    if not releases:
        return []
    at = now()
    last = connection.scalar(sa.select(_names.c.last_version).where(_names.c.name == name))
    if last is None:
        connection.execute(sa.insert(_names).values(name=name, last_version=0, live=0, updated=at))
        last = 0
    numbers = list(range(last + 1, last + 1 + len(releases)))
    records = [release.to_bytes() for release in releases]
    digests = [digest_bytes(record) for record in records]
    connection.execute(
        sa.insert(_versions),
        [
            _columns(release, number, digest, at, built)
            for release, number, digest in zip(releases, numbers, digests, strict=True)
        ],
    )
    _insert_blobs(connection, releases, digests, [len(record) for record in records])
    links.insert_links(connection, releases, digests, built=built)
    connection.execute(
        sa.update(_names)
        .where(_names.c.name == name)
        .values(last_version=numbers[-1], live=_names.c.live + len(releases), updated=at)
    )
    log.append_many(
        connection,
        [
            {
                "name": name,
                "kind": "publish",
                "version": number,
                "data": {"digest": digest, "published": at},
            }
            for number, digest in zip(numbers, digests, strict=True)
        ],
        who=who,
        why=why,
    )
    bump(connection)
    return numbers


def delete_version(connection: Connection, name: str, version: int, *, who: str, why: str) -> None:
    """Turn a version into a tombstone; its number and digest stay in the index.

    Raises:
        NotFound: there is no such live version.
        Conflict: an alias points to it.
    """
    lookup.resolve(connection, lookup.exact(name, version))
    held = connection.scalars(
        sa.select(_aliases.c.alias).where(
            _aliases.c.name == name,
            (_aliases.c.version == version) | (_aliases.c.canary == version),
        )
    ).all()
    if held:
        shown = ", ".join(f"`{name}:{alias}`" for alias in held)
        raise Conflict(
            f"`{name}@{version}` cannot be deleted: {shown} points to it",
            hint=f"promote another version first: adapters promote {name}@N {held[0]}; or let its "
            f"aliases go with it: adapters delete {name}@{version} --with-aliases",
        )
    at = now()
    connection.execute(
        sa.update(_versions)
        .where(_versions.c.name == name, _versions.c.version == version)
        .values(deleted=at)
    )
    connection.execute(
        sa.update(_names).where(_names.c.name == name).values(live=_names.c.live - 1, updated=at)
    )
    log.append(connection, name, "delete", who=who, why=why, version=version, deleted=at)
    bump(connection)


def read_revision(connection: Connection) -> int:
    """The revision counter."""
    value = connection.scalar(sa.select(_revision.c.value))
    assert value is not None
    return int(value)


def bump(connection: Connection) -> None:
    """Move the revision counter."""
    connection.execute(sa.update(_revision).values(value=_revision.c.value + 1))


def columns_of(release: Release) -> dict[str, Any]:
    """What a version's row says of its release's record."""
    return {
        "name": release.name,
        "method": release.method,
        "base_model": release.base.model,
        "base_digest": release.base.digest,
        "description": release.description,
        "tags": json.dumps(release.tags, ensure_ascii=False),
        "metrics": json.dumps(release.metrics, sort_keys=True),
        "size": release.size,
        "plan": release.plan,
        "parent": release.parents[0].name if release.parents else None,
        "created": release.created,
        "created_by": release.created_by,
    }


def _columns(release: Release, number: int, digest: str, at: str, built: bool) -> dict[str, Any]:
    plan = release.plan if built else None
    own = {"version": number, "digest": digest, "published": at}
    return {**columns_of(release), "plan": plan, **own}


def _insert_blobs(
    connection: Connection, releases: Sequence[Release], digests: list[str], sizes: list[int]
) -> None:
    """Every blob of the releases; `sizes` are those of the records."""
    # A deleted release that is published again has its rows already, and they are the same.
    known = set(
        connection.scalars(
            sa.select(_blobs.c.release).where(
                _blobs.c.path == RECORD_PATH, _blobs.c.release.in_(digests)
            )
        )
    )
    rows = []
    for release, digest, size in zip(releases, digests, sizes, strict=True):
        if digest in known:
            continue
        rows.append({"release": digest, "path": RECORD_PATH, "blob": digest, "size": size})
        rows += [
            {"release": digest, "path": path, "blob": entry.digest, "size": entry.size}
            for path, entry in release.files.items()
        ]
    if rows:
        connection.execute(sa.insert(_blobs), rows)
