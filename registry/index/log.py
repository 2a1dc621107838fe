"""The append-only log: everything that happened to a name, with who, when and why.

Rows are only ever inserted; the database refuses anything else, and each has a digest over itself
and the one before it (`chain.py`), so that `verify` sees what its owner changed all the same. A
release's record says what was known when it was published; every later fact about it is here:

    publish promote canary rollback retire          by the registry itself
    request, approve, deny                          of a move, by two people (`approval.py`)
    delete
    sign, revoke   key, bundle                      `adapters sign`
    settings       aliases                          of the registry itself, under the name ""
    apply        folder                             `adapters apply`: whose manifest declares it
    tag          added, removed                     `adapters tag`
    deprecate    deprecated (false takes it back)   `adapters deprecate`
    erase        blob, paths                        `adapters erase`
    push, pull   repository, endpoint, commit, …    withheld: the paths whose bytes stayed behind
    export       form, digest, size, proof          by those who do them, as are
    proof        engine, result                     all that follow
    feedback     receipt, score, …
    alarm        alias, watched, tenant, …          `adapters watch`
    review       against, reviewers, preferred, …   `adapters review close`
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.registry.index import chain, schema
from adapterworks.registry.index.database import AnyRow
from adapterworks.registry.releases.types import AliasMove, Event, now

MOVES = ("promote", "canary", "rollback")
# What happens to the name rather than to the release.
_OF_NAMES = ("publish", "delete", "retire", "apply", "request", "approve", "deny", *MOVES)

_PAGE = 1000
_log = schema.log


def append(
    connection: Connection,
    name: str,
    kind: str,
    *,
    who: str,
    why: str = "",
    version: int | None = None,
    alias: str | None = None,
    **data: Any,
) -> Event:
    """Append one event; `data` must be JSON."""
    at = now()
    row = {
        "name": name,
        "kind": kind,
        "version": version,
        "alias": alias,
        "at": at,
        "who": who,
        "why": why,
        "data": json.dumps(data, sort_keys=True),
    }
    linked = {**row, "chain": chain.link(chain.last(connection), row)}
    sequence = connection.scalar(sa.insert(_log).values(**linked).returning(_log.c.sequence))
    assert sequence is not None
    return Event(sequence, name, kind, version, alias, at, who, why, data)


def append_many(
    connection: Connection, rows: Sequence[dict[str, Any]], *, who: str, why: str
) -> None:
    """Append events at once; each row has name, kind, version and data."""
    at, before = now(), chain.last(connection)
    linked = []
    for row in rows:
        said = {**row, "data": json.dumps(row["data"]), "at": at, "who": who, "why": why}
        before = chain.link(before, said)
        linked.append({**said, "chain": before})
    connection.execute(sa.insert(_log), linked)


def newest(connection: Connection, kind: str) -> dict[str, Event]:
    """The last event of a kind of every name that has one."""
    last = sa.select(sa.func.max(_log.c.sequence)).where(_log.c.kind == kind).group_by(_log.c.name)
    rows = connection.execute(sa.select(_log).where(_log.c.sequence.in_(last)))
    return {row.name: event_of(row) for row in rows}


def events(
    connection: Connection,
    name: str,
    *,
    alias: str | None = None,
    version: int | None = None,
    kinds: tuple[str, ...] | None = None,
    facts: bool = False,
    limit: int = 50,
    before: int | None = None,
) -> list[Event]:
    """The newest `limit` events of a name (older than sequence `before`), newest first.

    Args:
        facts: only what was learnt of a release after it was published.
    """
    query = sa.select(_log).where(_log.c.name == name)
    if alias is not None:
        query = query.where(_log.c.alias == alias)
    if version is not None:
        query = query.where(_log.c.version == version)
    if kinds is not None:
        query = query.where(_log.c.kind.in_(kinds))
    if facts:
        query = query.where(_log.c.kind.not_in(_OF_NAMES))
    if before is not None:
        query = query.where(_log.c.sequence < before)
    query = query.order_by(_log.c.sequence.desc()).limit(limit)
    return [event_of(row) for row in connection.execute(query)]


def every(
    connection: Connection,
    name: str,
    *,
    alias: str | None = None,
    kinds: tuple[str, ...],
    after: int = 0,
) -> Iterator[Event]:
    """All events of some kinds after a sequence, oldest first, read in pages."""
    query = sa.select(_log).where(_log.c.name == name, _log.c.kind.in_(kinds))
    if alias is not None:
        query = query.where(_log.c.alias == alias)
    while True:
        page = query.where(_log.c.sequence > after).order_by(_log.c.sequence).limit(_PAGE)
        rows = connection.execute(page).all()
        yield from map(event_of, rows)
        if len(rows) < _PAGE:
            return
        after = rows[-1].sequence


def head(connection: Connection, name: str) -> int:
    """The sequence of a name's newest event; 0 if there is none."""
    newest = sa.select(sa.func.max(_log.c.sequence)).where(_log.c.name == name)
    return connection.scalar(newest) or 0


def to_move(event: Event) -> AliasMove:
    """The alias move that a move event records."""
    assert event.version is not None
    assert event.alias is not None
    return AliasMove(
        sequence=event.sequence,
        name=event.name,
        alias=event.alias,
        kind=event.kind,
        version=event.version,
        previous=event.data["previous"],
        canary=event.data["canary"],
        weight=event.data["weight"],
        at=event.at,
        who=event.who,
        why=event.why,
    )


def event_of(row: AnyRow) -> Event:
    """A row as a value."""
    values = row._asdict()
    del values["chain"]
    return Event(**{**values, "data": json.loads(values["data"])})
