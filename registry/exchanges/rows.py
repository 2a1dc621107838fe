"""Rows of exchanges and feedback, and the values they stand for."""

from __future__ import annotations

import contextlib
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.errors import IntegrityError, NotFound
from adapterworks.registry.exchanges.exchange import Exchange, Feedback
from adapterworks.registry.exchanges.files import SealedFiles
from adapterworks.registry.exchanges.schema import erased, exchanges
from adapterworks.registry.index.database import AnyRow

_COLUMNS = (
    *("id", "receipt", "tenant", "adapter", "ref", "release", "base", "template"),
    *("share", "stored", "created", "expires"),
)


def exchange_of(row: AnyRow, files: SealedFiles) -> Exchange:
    """A row with what is sealed of it.

    Raises:
        NotFound, IntegrityError: as `SealedFiles.read`.
    """
    sealed = files.read(row.tenant, row.receipt)
    return Exchange(
        **{name: row._mapping[name] for name in _COLUMNS},
        request=sealed["request"],
        answer=sealed["answer"],
        metadata=sealed["metadata"],
        redacted=tuple(sealed["redacted"]),
    )


def feedback_of(row: AnyRow, files: SealedFiles) -> Feedback:
    """A row of feedback, with its texts where they are still kept and the key here opens them."""
    texts: dict[str, str | None] = {"correction": None, "comment": None}
    if row.sealed:
        with contextlib.suppress(NotFound, IntegrityError):
            texts = files.read(row.tenant, row.id)
    return Feedback(
        id=row.id,
        receipt=row.receipt,
        tenant=row.tenant,
        adapter=row.adapter,
        release=row.release,
        reviewer=row.reviewer,
        thumb=row.thumb,
        score=row.score,
        label=row.label,
        correction=texts["correction"],
        comment=texts["comment"],
        created=row.created,
    )


def sealed_of(item: Exchange) -> dict[str, Any]:
    """What of an exchange is sealed."""
    return {
        "request": item.request,
        "answer": item.answer,
        "metadata": item.metadata,
        "redacted": list(item.redacted),
    }


def row_of(item: Exchange, size: int) -> dict[str, Any]:
    """What of an exchange is in the index."""
    return {**{name: getattr(item, name) for name in _COLUMNS}, "size": size}


def of_tenant(tenant: str) -> sa.Select[Any]:
    """A tenant's exchanges."""
    return sa.select(exchanges).where(exchanges.c.tenant == tenant)


def find(connection: Connection, tenant: str, name: str) -> AnyRow | None:
    """The exchange of a completion id or a receipt."""
    query = (
        of_tenant(tenant)
        .where(sa.or_(exchanges.c.id == name, exchanges.c.receipt == name))
        .order_by(exchanges.c.sequence.desc())
        .limit(1)
    )
    return connection.execute(query).one_or_none()


def named(column: sa.Column[Any], tenant: str, name: str) -> sa.Select[Any]:
    """Whether a tenant has a row of that name."""
    return sa.select(column).where(column == name, column.table.c.tenant == tenant)


def erased_since(connection: Connection, item: Exchange) -> bool:
    """Whether the tenant was erased after the exchange was asked."""
    at = connection.scalar(sa.select(erased.c.at).where(erased.c.tenant == item.tenant))
    return at is not None and item.created <= at
