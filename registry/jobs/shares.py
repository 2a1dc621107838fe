"""What each tenant has had of the workers for its weight: who has had the least is next.

Invariants:
- a tenant earns no credit while it has nothing that could run: when it has again, it begins level
  with whoever has had the least of those at work. A paused job is nothing that could run;
- a kill costs its tenant a turn and nobody else any; only a turn that could not be used, for want
  of memory say, is given back.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.registry.jobs import schema
from adapterworks.registry.jobs.states import AT_WORK

_jobs, _shares = schema.jobs, schema.shares

table = _shares
"""To be joined with jobs by `tenant`, and ordered by `served`."""


def arrive(connection: Connection, tenant: str) -> None:
    """To be called before a tenant's job becomes one that can run.

    A tenant that has others at work keeps its place; one that had nothing to do begins level.
    """
    mine = sa.select(_jobs.c.id).where(_jobs.c.tenant == tenant, _jobs.c.state.in_(AT_WORK))
    if connection.scalar(mine.limit(1)) is not None:
        return
    busy = sa.select(_jobs.c.tenant).where(_jobs.c.state.in_(AT_WORK))
    least = connection.scalar(
        sa.select(sa.func.min(_shares.c.served)).where(_shares.c.tenant.in_(busy))
    )
    if least is None:  # nobody is at work: level with whoever was served last
        least = connection.scalar(sa.select(sa.func.max(_shares.c.served))) or 0.0
    served = connection.scalar(sa.select(_shares.c.served).where(_shares.c.tenant == tenant))
    if served is None:
        connection.execute(sa.insert(_shares).values(tenant=tenant, served=least))
    elif served < least:
        connection.execute(
            sa.update(_shares).where(_shares.c.tenant == tenant).values(served=least)
        )


def charge(connection: Connection, tenant: str, cost: float, weight: float) -> None:
    """A tenant was given a turn."""
    connection.execute(
        sa.update(_shares)
        .where(_shares.c.tenant == tenant)
        .values(served=_shares.c.served + cost / weight)
    )
