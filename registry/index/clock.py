"""One clock for all who share an index: the database's, where that is a server."""

from __future__ import annotations

import time

import sqlalchemy as sa
from sqlalchemy.engine import Connection


def now_s(connection: Connection) -> float:
    """Seconds since the epoch. Leases of several hosts are compared by it, whatever theirs say."""
    if connection.dialect.name == "sqlite":
        return time.time()
    return float(connection.scalar(sa.text("SELECT extract(epoch FROM clock_timestamp())")) or 0)
