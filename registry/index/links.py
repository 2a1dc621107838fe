"""What records name by digest, looked up from either end: parents, stages' digests, rows.

    parent   key: the relation           target: a release's digest, or `name@n` in old records
    digest   key: train, evaluate, …     target: the digest of what determined that stage
    data     key: the split              target: the digest of its rows

Invariant: `digest` links are written only for what was built in this registry. A record that came
from elsewhere may claim any digest, and must not be taken for work that was done here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.registry.index import schema
from adapterworks.registry.releases.release import Release

Kind = Literal["parent", "digest", "data"]

_links = schema.release_links


def insert_links(
    connection: Connection, releases: Sequence[Release], digests: Sequence[str], *, built: bool
) -> None:
    """The links of releases that are published; `built` says that it was here."""
    # A deleted release that is published again has its rows already.
    known = set(
        connection.scalars(sa.select(_links.c.release).where(_links.c.release.in_(digests)))
    )
    rows = [
        {"release": digest, "kind": kind, "position": position, "key": key, "target": target}
        for release, digest in zip(releases, digests, strict=True)
        if digest not in known
        for kind, links in _links_of(release, built)
        for position, (key, target) in enumerate(links)
    ]
    if rows:
        connection.execute(sa.insert(_links), rows)


def parents(connection: Connection, release: str) -> list[tuple[str, str]]:
    """(relation, parent) of a release, in the record's order."""
    query = (
        sa.select(_links.c.key, _links.c.target)
        .where(_links.c.release == release, _links.c.kind == "parent")
        .order_by(_links.c.position)
    )
    return [(row.key, row.target) for row in connection.execute(query)]


def releases_of(
    kind: Kind, target: str, key: str | None = None, *, but: str | None = None
) -> sa.Select[tuple[str]]:
    """The query for the releases that name a digest, under a key or under any `but` one."""
    query = sa.select(_links.c.release).where(_links.c.kind == kind, _links.c.target == target)
    if but is not None:
        query = query.where(_links.c.key != but)
    return query if key is None else query.where(_links.c.key == key)


def stored(connection: Connection, release: str) -> dict[str, list[tuple[str, str]]]:
    """All links of a release by kind, in order."""
    query = sa.select(_links).where(_links.c.release == release).order_by(_links.c.position)
    found: dict[str, list[tuple[str, str]]] = {}
    for row in connection.execute(query):
        found.setdefault(row.kind, []).append((row.key, row.target))
    return found


def are_of(stored: dict[str, list[tuple[str, str]]], release: Release) -> bool:
    """Whether links are the record's; those of versions before there were any are not there."""
    if not stored:
        return True
    # Stages are linked where they were built, and order is the record's.
    said = {kind: links for kind, links in _links_of(release, "digest" in stored) if links}
    return {k: sorted(v) for k, v in stored.items()} == {k: sorted(v) for k, v in said.items()}


def _links_of(release: Release, built: bool) -> Iterator[tuple[Kind, list[tuple[str, str]]]]:
    yield "parent", [(parent.relation, parent.name) for parent in release.parents]
    yield "data", list(release.provenance.data.items())
    if built:
        yield "digest", list(release.digests.items())
