"""Searching live versions by text, tag, base and method, newest first."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.registry.index import lookup, schema, tags
from adapterworks.registry.releases.types import VersionRow

_versions = schema.versions


def search(
    connection: Connection,
    text: str,
    *,
    tag: str | None,
    base: str | None,
    method: str | None,
    limit: int,
    offset: int,
) -> list[VersionRow]:
    """Every word of `text` must occur in name, description, tags, base or method.

    A tag that was taken later still has its word in the record, and is found by text, not by `tag`.
    """
    query = sa.select(_versions).where(_versions.c.deleted.is_(None))
    for word in text.lower().split():
        columns = (
            _versions.c.name,
            _versions.c.description,
            _versions.c.tags,
            _versions.c.base_model,
            _versions.c.method,
        )
        query = query.where(
            sa.or_(
                *(sa.func.lower(column).contains(word, autoescape=True) for column in columns),
                tags.has_word(word),
            )
        )
    if tag is not None:
        query = query.where(tags.has(tag))
    if base is not None:
        query = query.where((_versions.c.base_model == base) | (_versions.c.base_digest == base))
    if method is not None:
        query = query.where(_versions.c.method == method)
    newest = (_versions.c.published.desc(), _versions.c.name, _versions.c.version.desc())
    rows = connection.execute(query.order_by(*newest).limit(limit).offset(offset)).all()
    return lookup.with_aliases(connection, rows)
