"""How many bytes a tenant's files take, those that it has announced included, and may take."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.errors import Refused
from adapterworks.registry.jobs import schema

_files, _uploads = schema.files, schema.uploads


class OverQuota(Refused):
    """The tenant's files together would be larger than they may be."""


def alive(tenant: str, now: float) -> sa.ColumnElement[bool]:
    """A tenant's files that are neither deleted nor expired."""
    return sa.and_(
        _files.c.tenant == tenant,
        _files.c.deleted.is_(None),
        sa.or_(_files.c.expires.is_(None), _files.c.expires > now),
    )


def used(connection: Connection, tenant: str, now: float) -> int:
    """Bytes of a tenant's files together."""
    query = sa.select(sa.func.coalesce(sa.func.sum(_files.c.size), 0))
    return int(connection.scalar(query.where(alive(tenant, now))) or 0)


def pending_of(tenant: str, now: float) -> sa.ColumnElement[bool]:
    """A tenant's uploads that are neither whole nor over."""
    mine = sa.and_(_uploads.c.tenant == tenant, _uploads.c.state == "pending")
    return sa.and_(mine, _uploads.c.expires > now)


def require_room(
    connection: Connection,
    tenant: str,
    size: int,
    quota: int | None,
    now: float,
    instead_of: str | None = None,
) -> None:
    """Ask whether `size` more bytes of a tenant fit beside its files and announced uploads.

    Args:
        instead_of: an upload that does not count.

    Raises:
        OverQuota: they do not.
    """
    announced = sa.select(sa.func.coalesce(sa.func.sum(_uploads.c.size), 0)).where(
        pending_of(tenant, now), _uploads.c.id != (instead_of or "")
    )
    taken = used(connection, tenant, now) + int(connection.scalar(announced) or 0)
    if quota is not None and taken + size > quota:
        raise OverQuota(
            f"your files and announced uploads take {taken} bytes of the {quota} you may have, and "
            f"this one has {size}",
            hint="delete files and cancel uploads you no longer need",
        )
