"""Sealed files without a row: what a crash left between a file and its row is removed."""

from __future__ import annotations

from itertools import chain, groupby

import sqlalchemy as sa

from adapterworks.registry.exchanges.files import SealedFiles
from adapterworks.registry.exchanges.schema import exchanges, shadows
from adapterworks.registry.exchanges.schema import feedback as said
from adapterworks.registry.index.database import Database

_PAGE = 500  # names in one statement


def remove_orphans(database: Database, files: SealedFiles, before: float) -> int:
    """Remove files that were last written before a time and that no row has; returns how many.

    Args:
        before: seconds since the epoch; long enough ago for every write to have its row.

    Raises:
        Unavailable: disk or index.
    """
    gone = 0
    for tenant, group in groupby(sorted(files.old(before)), key=lambda file: file[0]):
        names = [name for _, name in group]
        for begin in range(0, len(names), _PAGE):
            page = names[begin : begin + _PAGE]
            kept = sa.select(exchanges.c.receipt).where(
                exchanges.c.tenant == tenant, exchanges.c.receipt.in_(page)
            )
            texts = sa.select(said.c.id).where(
                said.c.tenant == tenant, said.c.id.in_(page), said.c.sealed
            )
            answers = sa.select(shadows.c.id).where(
                shadows.c.tenant == tenant, shadows.c.id.in_(page)
            )
            with database.read() as connection:
                known = {*chain(*map(connection.scalars, (kept, texts, answers)))}
            for name in page:
                if name not in known:
                    files.discard(tenant, name)
                    gone += 1
    return gone
