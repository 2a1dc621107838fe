"""SQLite as an index's database: how its files are opened, and how its transactions begin.

Invariant: a connection that writes has the write-ahead log, waits for locks, and loses nothing that
was committed; an index that may only be read is opened without a write to it or beside it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy.engine import URL, Connection

BUSY_TIMEOUT_S = 60
# SQLITE_BUSY, SQLITE_LOCKED
_BUSY = (5, 6)


def may_only_be_read(path: str | None) -> bool:
    """Whether an index is there that this user cannot write to: SQLite writes beside it, too."""
    if not path or not Path(path).exists():
        return False
    return not all(os.access(place, os.W_OK) for place in (path, Path(path).parent))


def for_reading(url: URL) -> URL:
    """The URL that opens a file without writing to it or beside it."""
    path = Path(str(url.database)).absolute()
    log = path.with_name(f"{path.name}-wal")
    left = log.exists() and log.stat().st_size > 0
    # Nobody's writes are pending: then SQLite need not look for other processes beside the file.
    query = {"mode": "ro", "uri": "true", **({} if left else {"immutable": "1"})}
    return url.set(database=f"file:{quote(str(path))}", query=query)


def configure_reader(connection: Any, _record: Any) -> None:
    """Prepare a connection to a file that is only read."""
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000}")
    connection.create_function("lower", 1, _lower, deterministic=True)


def _lower(text: str | None) -> str | None:
    """SQLite's own knows ASCII only; a search must find the same on both databases."""
    return None if text is None else text.lower()


def configure(patience: float, durable: bool, connection: Any, _record: Any) -> None:
    """Prepare a connection: one writer, nothing lost that was committed."""
    # Transactions are begun by `begin`, not guessed by the driver.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {int(patience * 1000)}")
    _enable_wal(connection)
    connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    connection.execute("PRAGMA foreign_keys = ON")
    # What is deleted is overwritten: a tenant's texts are not to be found in free pages.
    connection.execute("PRAGMA secure_delete = ON")
    connection.create_function("lower", 1, _lower, deterministic=True)


def _enable_wal(connection: Any) -> None:
    # SQLite does not apply busy_timeout to the switch of a blank database into WAL mode.
    import sqlite3

    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            # Only what another process does passes by itself.
            if error.sqlite_errorcode & 0xFF not in _BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def begin(connection: Connection) -> None:
    """Begin a transaction; one that writes takes the write lock at once."""
    write = connection.get_execution_options().get("adapters_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
