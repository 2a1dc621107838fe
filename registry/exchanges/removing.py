"""Removing exchanges with all that was kept beside them: texts of feedback, answers of shadows.

Invariant: files go first, then rows; scores and choices stay, which have no text.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.registry.exchanges.files import SealedFiles
from adapterworks.registry.exchanges.schema import exchanges, shadows
from adapterworks.registry.exchanges.schema import feedback as said
from adapterworks.registry.index.database import AnyRow, Database


def remove(database: Database, files: SealedFiles, rows: Sequence[AnyRow]) -> None:
    """Remove exchanges by their rows.

    What is said while the files go has its text removed after the rows: a crash before that leaves
    a file that no row seals, which `sweep` removes.
    """
    if not rows:
        return
    receipts = [row.receipt for row in rows]
    with database.read() as connection:
        found = _beside(connection, receipts)
    for tenant, name in [(row.tenant, row.receipt) for row in rows] + found:
        files.remove(tenant, name)
    with database.write() as connection:
        late = _beside(connection, receipts)
        connection.execute(sa.update(said).where(said.c.receipt.in_(receipts)).values(sealed=False))
        connection.execute(sa.delete(shadows).where(shadows.c.receipt.in_(receipts)))
        connection.execute(sa.delete(exchanges).where(exchanges.c.receipt.in_(receipts)))
    for tenant, name in late:
        files.remove(tenant, name)


def _beside(connection: Connection, receipts: Sequence[str]) -> list[tuple[str, str]]:
    """Tenant and name of each sealed file that is kept beside exchanges."""
    texts = sa.select(said.c.tenant, said.c.id).where(said.c.receipt.in_(receipts), said.c.sealed)
    answers = sa.select(shadows.c.tenant, shadows.c.id).where(shadows.c.receipt.in_(receipts))
    return [(row[0], row[1]) for query in (texts, answers) for row in connection.execute(query)]
