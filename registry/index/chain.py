"""The log as a chain: each row has a digest over itself and the row before it.

    chain(n) = SHA-256 of [chain(n - 1), name, kind, version, alias, at, who, why, data]

So a row that was changed, taken out or put between others by whoever owns the database does not fit
what follows it. Rows that were written before there was a chain are covered by its first link,
which takes all of them for the row before it. What a chain cannot show by itself is that its end
was cut off: only a version, a tombstone or an alias that the lost rows told of contradicts that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.digests import digest_json
from adapterworks.registry.index import schema
from adapterworks.registry.index.database import AnyRow

_log = schema.log
_SAID = ("name", "kind", "version", "alias", "at", "who", "why", "data")
_NOTHING = "sha256:" + "0" * 64
_PAGE = 1000


def last(connection: Connection) -> str:
    """The newest row's link, under the write lock; over all rows if none has one yet."""
    newest = connection.execute(sa.select(_log).order_by(_log.c.sequence.desc()).limit(1)).first()
    if newest is not None and newest.chain is not None:
        return str(newest.chain)
    return _unchained(connection)


def link(before: str, row: Mapping[str, Any]) -> str:
    """A row's link."""
    return digest_json([before, *(row.get(column) for column in _SAID)])


def _unchained(connection: Connection) -> str:
    """What stands before the first link: all rows, of which none has one."""
    digest = _NOTHING
    for row in _rows(connection):
        digest = link(digest, row._asdict())
    return digest


def broken(connection: Connection) -> Iterator[tuple[AnyRow, str]]:
    """The rows that do not fit, with why; after one that does not, its own link is believed."""
    before, begun = _NOTHING, False
    for row in _rows(connection):
        expected = link(before, row._asdict())
        if row.chain is None:
            if begun:
                yield row, "it was put into the log from outside"
                continue
            before = expected
            continue
        begun = True
        if row.chain != expected:
            yield row, "it, or what stood before it, is not what was logged"
        before = row.chain


def _rows(connection: Connection) -> Iterator[AnyRow]:
    """All rows of the log, oldest first, in pages."""
    after = 0
    while True:
        query = sa.select(_log).where(_log.c.sequence > after)
        rows = connection.execute(query.order_by(_log.c.sequence).limit(_PAGE)).all()
        yield from rows
        if len(rows) < _PAGE:
            return
        after = rows[-1].sequence
