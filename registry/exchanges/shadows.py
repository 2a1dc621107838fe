"""Answers of other releases to requests that are kept: put beside the first, read as pairs.

Invariant: one is kept only beside its exchange, sealed with the same key, and goes with it; so
nothing of a request outlives what was allowed to be kept of it.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from adapterworks.manifests.errors import IntegrityError, NotFound
from adapterworks.registry.exchanges.exchange import Exchange
from adapterworks.registry.exchanges.rows import erased_since, exchange_of, find
from adapterworks.registry.exchanges.schema import shadows
from adapterworks.registry.exchanges.store import PAGE, Exchanges
from adapterworks.registry.index.database import AnyRow


@dataclass(frozen=True, slots=True)
class Paired:
    """One request, answered by two releases.

    Attributes:
        number: grows with every pair that is put, so that those before stay those before.
        exchange: the request and what the client was answered.
        release: digest of the other release.
        answer: what that would have answered.
        same: whether both say the same.
    """

    number: int
    exchange: Exchange
    release: str
    answer: str
    same: bool


def put_shadow(store: Exchanges, answered: Exchange) -> bool:
    """Keep another release's answer; whether its exchange is there to keep it beside.

    Args:
        answered: the exchange as it would have been had that release answered.

    Raises:
        Unavailable: disk or index.
    """
    tenant, receipt = answered.tenant, answered.receipt
    with store.database.read() as connection:
        row = find(connection, tenant, receipt)
    if row is None:
        return False
    try:
        first = exchange_of(row, store.files)
    except (NotFound, IntegrityError):
        return False
    name = f"sh-{secrets.token_hex(12)}"
    store.files.write(tenant, name, {"answer": answered.text}, durable=False)
    kept = False
    try:
        with store.database.write() as connection:
            gone = find(connection, tenant, receipt) is None or erased_since(connection, answered)
            known = connection.scalar(
                sa.select(shadows.c.id).where(
                    shadows.c.receipt == receipt, shadows.c.release == answered.release
                )
            )
            if not gone and known is None:
                connection.execute(
                    sa.insert(shadows).values(
                        id=name,
                        receipt=receipt,
                        tenant=tenant,
                        adapter=first.adapter,
                        release=answered.release,
                        same=first.text.strip() == answered.text.strip(),
                        created=answered.created,
                    )
                )
                kept = True
    finally:
        if not kept:
            store.files.remove(tenant, name)
    return not gone


def pairs(
    store: Exchanges,
    *,
    adapter: str,
    releases: Collection[str] | None = None,
    tenant: str | None = None,
    since: float = 0.0,
) -> Iterator[Paired]:
    """Requests of an adapter that two releases have answered, in the order in which they were put.

    What expires or is removed while this goes on is passed over.

    Args:
        releases: both digests are among these.
        tenant: id of a tenant.
        since: asked at this time or later, seconds since the epoch.
    """
    query = sa.select(shadows).where(shadows.c.adapter == adapter, shadows.c.created >= since)
    if tenant is not None:
        query = query.where(shadows.c.tenant == tenant)
    if releases is not None:
        query = query.where(shadows.c.release.in_(releases))
    edge = 0
    while True:
        paged = query.where(shadows.c.sequence > edge).order_by(shadows.c.sequence).limit(PAGE)
        with store.database.read() as connection:
            rows = connection.execute(paged).all()
        for row in rows:
            pair = pair_of(store, row)
            if pair is not None and (releases is None or pair.exchange.release in releases):
                yield pair
        if len(rows) < PAGE:
            return
        edge = int(rows[-1].sequence)


def pair_of(store: Exchanges, row: AnyRow) -> Paired | None:
    """The pair of a shadow's row; None where it is not there any more."""
    try:
        exchange = store.judged(row.tenant, row.receipt)
        answer = store.files.read(row.tenant, row.id)["answer"]
    except (NotFound, IntegrityError):
        return None
    return Paired(int(row.sequence), exchange, row.release, answer, bool(row.same))
