"""What no single release shows: that numbers, aliases, tags and notes are what the log tells.

numbers      1…n without a gap, as many live as are listed
aliases      point to live versions, where their last logged move put them
log          a chain (`index/chain.py`); every version and tombstone is told of in it
tags, signatures, erasures, the registry's settings   each is in the log as it is in its table
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.digests import digest_bytes
from adapterworks.registry.index import chain, log, lookup, schema
from adapterworks.registry.lifecycle import protection
from adapterworks.registry.releases.absence import ERASED

_names, _versions, _aliases = schema.names, schema.versions, schema.aliases
_tags, _log, _signatures = schema.version_tags, schema.log, schema.signatures
_absences = schema.absences
_ALL = 1_000_000


def index_problems(connection: Connection) -> Iterator[tuple[str, str]]:
    """(name or ref, what is wrong) of the index itself."""
    yield from _chain_problems(connection)
    yield from _count_problems(connection)
    yield from _tag_problems(connection)
    yield from _signature_problems(connection)
    yield from _erasure_problems(connection)
    yield from protection.unjudged(connection)


def _chain_problems(connection: Connection) -> Iterator[tuple[str, str]]:
    """Rows of the log that lie, and versions that it does not tell of as they are listed."""
    for row, why in chain.broken(connection):
        of = row.name if row.version is None else f"{row.name}@{row.version}"
        yield of, f"row {row.sequence} of the log (`{row.kind}` of {row.at[:19]}): {why}"
    logged: dict[tuple[str, str, int], str] = {}
    query = sa.select(_log.c.kind, _log.c.name, _log.c.version, _log.c.data).where(
        _log.c.kind.in_(("publish", "delete"))
    )
    for row in connection.execute(query):
        logged[row.kind, row.name, row.version] = row.data
    listed = sa.select(
        _versions.c.name,
        _versions.c.version,
        _versions.c.digest,
        _versions.c.published,
        _versions.c.deleted,
    )
    for row in connection.execute(listed):
        ref = f"{row.name}@{row.version}"
        published = json.loads(logged.get(("publish", row.name, row.version), "{}"))
        if published.get("digest") != row.digest:
            yield ref, "the log does not say that this release was published under this number"
        elif published.get("published", row.published) != row.published:
            yield ref, "the log says another time of its publication"
        deleted = logged.get(("delete", row.name, row.version))
        if (row.deleted is not None) != (deleted is not None):
            yield ref, "the log and its row do not agree on whether it was deleted"
        elif deleted is not None and json.loads(deleted).get("deleted", row.deleted) != row.deleted:
            yield ref, "the log says another time of its deletion"


def _tag_problems(connection: Connection) -> Iterator[tuple[str, str]]:
    """Versions whose tags are not those that the log gives and takes."""
    kept: dict[tuple[str, int], dict[str, bool]] = {}
    for row in connection.execute(sa.select(_tags)).all():
        kept.setdefault((row.name, row.version), {})[row.tag] = bool(row.present)
    for name in {name for name, _ in kept}:
        logged: dict[int, dict[str, bool]] = {}
        for event in reversed(log.events(connection, name, kinds=("tag",), limit=_ALL)):
            of_version = logged.setdefault(event.version or 0, {})
            of_version.update(dict.fromkeys(event.data["added"], True))
            of_version.update(dict.fromkeys(event.data["removed"], False))
        for (other, version), tags in kept.items():
            if other == name and tags != logged.get(version, {}):
                yield f"{name}@{version}", "its tags are not those that the log gave it"


def _count_problems(connection: Connection) -> Iterator[tuple[str, str]]:
    counts = connection.execute(
        sa.select(
            _names.c.name,
            _names.c.last_version,
            _names.c.live,
            sa.func.count(_versions.c.version).label("given"),
            sa.func.max(_versions.c.version).label("highest"),
            sa.func.count(_versions.c.version).filter(_versions.c.deleted.is_(None)).label("alive"),
        )
        .outerjoin(_versions, _versions.c.name == _names.c.name)
        .group_by(_names.c.name, _names.c.last_version, _names.c.live)
    )
    for row in counts:
        if not row.last_version == row.given == row.highest or row.live != row.alive:
            yield row.name, f"its versions are not 1…{row.last_version} without a gap"
    for holder in connection.execute(sa.select(_aliases)).all():
        ref = f"{holder.name}:{holder.alias}"
        for version in filter(None, (holder.version, holder.canary)):
            if lookup.get_version(connection, holder.name, version).deleted is not None:
                yield ref, f"it points to `{holder.name}@{version}`, which was deleted"
        logged = log.events(connection, holder.name, alias=holder.alias, kinds=log.MOVES, limit=1)
        moves = [log.to_move(event) for event in logged]
        held = (holder.version, holder.canary, holder.weight)
        if [(move.version, move.canary, move.weight) for move in moves] != [held]:
            yield ref, "it is not where its last logged move put it"


def _signature_problems(connection: Connection) -> Iterator[tuple[str, str]]:
    """Signatures made here that the log does not tell of as they are stored."""
    logged: dict[tuple[str, int], list[dict[str, str]]] = {}
    signed = sa.select(_log.c.name, _log.c.version, _log.c.data).where(_log.c.kind == "sign")
    for event in connection.execute(signed):
        logged.setdefault((event.name, event.version), []).append(json.loads(event.data))
    query = sa.select(_versions.c.name, _versions.c.version, _signatures).join(
        _versions, _versions.c.digest == _signatures.c.release
    )
    said: dict[tuple[str, str], bool] = {}
    of: dict[tuple[str, str], str] = {}
    for row in connection.execute(query):  # a digest may have had several numbers
        key, stored = (row.release, row.key), digest_bytes(row.bundle.encode())
        events = logged.get((row.name, row.version), ())
        told = any(e["key"] == row.key and e.get("bundle", stored) == stored for e in events)
        said[key] = said.get(key, False) or told
        of[key] = f"{row.name}@{row.version}"
    for key, told in said.items():
        if not told:
            yield of[key], f"its signature by key {key[1][7:19]} is not what the log tells of"


def _erasure_problems(connection: Connection) -> Iterator[tuple[str, str]]:
    """Erased bytes of which the log does not say that somebody erased them."""
    erased = connection.scalars(sa.select(_absences.c.blob).where(_absences.c.state == ERASED))
    wanted = set(erased)
    events = connection.scalars(sa.select(_log.c.data).where(_log.c.kind == "erase"))
    for blob in sorted(wanted - {json.loads(data)["blob"] for data in events}):
        yield blob[:19], "it is said to be erased, and the log does not say by whom"
