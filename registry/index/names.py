"""Listing names: a page costs what the page holds, however many versions there are."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.registry.index import schema
from adapterworks.registry.releases.types import NameRow, Weighted

_names, _versions, _aliases = schema.names, schema.versions, schema.aliases
# What a name's row says of its newest live version, beside its number.
_SHOWN = (_versions.c.description, _versions.c.base_model, _versions.c.method)


def list_names(
    connection: Connection, *, limit: int, after: str | None, text: str = ""
) -> list[NameRow]:
    """A page of names in alphabetical order, after `after`.

    Args:
        text: every word of it must occur in the name, or in the description, base or method of the
            newest live version.
    """
    query = _select().order_by(_names.c.name).limit(limit)
    if after is not None:
        query = query.where(_names.c.name > after)
    for word in text.lower().split():
        looked_at = (_names.c.name, *map(_of_latest, _SHOWN))
        query = query.where(
            sa.or_(*(sa.func.lower(c).contains(word, autoescape=True) for c in looked_at))
        )
    return _rows(connection, query)


def get_name(connection: Connection, name: str) -> NameRow | None:
    """One name's row; None if there is no such name."""
    return next(iter(_rows(connection, _select().where(_names.c.name == name))), None)


def _select() -> sa.Select[Any]:
    return sa.select(_names, *map(_latest, (_versions.c.version, *_SHOWN)))


def _rows(connection: Connection, query: sa.Select[Any]) -> list[NameRow]:
    rows = connection.execute(query).all()
    held = _holders(connection, [row.name for row in rows])
    return [
        NameRow(
            name=row.name,
            description=row.description or "",
            latest=row.version,
            versions=row.live,
            updated=row.updated,
            aliases=held.get(row.name, {}),
            base=row.base_model or "",
            method=row.method or "",
        )
        for row in rows
    ]


def _latest(column: sa.ColumnElement[Any]) -> sa.Label[Any]:
    return _of_latest(column).label(column.key)


def _of_latest(column: sa.ColumnElement[Any]) -> sa.ScalarSelect[Any]:
    """A column of a name's newest live version; an index is read from its end."""
    return (
        sa.select(column)
        .where(_versions.c.name == _names.c.name, _versions.c.deleted.is_(None))
        .order_by(_versions.c.version.desc())
        .limit(1)
        .scalar_subquery()
    )


def _holders(
    connection: Connection, names: list[str]
) -> dict[str, dict[str, tuple[Weighted, ...]]]:
    query = (
        sa.select(_aliases, _versions.c.version.label("held"), _versions.c.digest)
        .join(
            _versions,
            (_versions.c.name == _aliases.c.name)
            & _versions.c.version.in_((_aliases.c.version, _aliases.c.canary)),
        )
        .where(_aliases.c.name.in_(names))
        .order_by(_aliases.c.alias)
    )
    found: dict[str, dict[str, tuple[Weighted, ...]]] = {}
    for row in connection.execute(query):
        canary = row.held == row.canary
        share = row.weight if canary else 100 - (row.weight or 0)
        weighted = Weighted(row.held, row.digest, share)
        of_name = found.setdefault(row.name, {})
        others = of_name.get(row.alias, ())
        of_name[row.alias] = (*others, weighted) if canary else (weighted, *others)
    return found
