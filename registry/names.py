"""Listing names: a page costs what the page holds, however many versions there are."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from registry import schema
from registry.types import NameRow, Weighted

_names, _versions, _aliases = schema.names, schema.versions, schema.aliases


def list_names(connection: Connection, *, limit: int, after: str | None) -> list[NameRow]:
    """A page of names in alphabetical order, after `after`."""
    latest = (
        sa.select(sa.func.max(_versions.c.version))
        .where(_versions.c.name == _names.c.name, _versions.c.deleted.is_(None))
        .scalar_subquery()
        .label("latest")
    )
    query = sa.select(_names, latest).order_by(_names.c.name).limit(limit)
    if after is not None:
        query = query.where(_names.c.name > after)
    rows = connection.execute(query).all()
    held = _holders(connection, [row.name for row in rows])
    described = _descriptions(connection, [(row.name, row.latest) for row in rows])
    return [
        NameRow(
            name=row.name,
            description=described.get((row.name, row.latest), ""),
            latest=row.latest,
            versions=row.live,
            updated=row.updated,
            aliases=held.get(row.name, {}),
        )
        for row in rows
    ]


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


def _descriptions(
    connection: Connection, keys: list[tuple[str, int | None]]
) -> dict[tuple[str, int | None], str]:
    wanted = sa.tuple_(_versions.c.name, _versions.c.version).in_(
        [key for key in keys if key[1] is not None]
    )
    rows = connection.execute(
        sa.select(_versions.c.name, _versions.c.version, _versions.c.description).where(wanted)
    )
    return {(row.name, row.version): row.description for row in rows}
