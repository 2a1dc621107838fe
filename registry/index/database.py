"""The index's database: SQLite or PostgreSQL behind one SQLAlchemy engine, with one writer.

Invariants:
- A write transaction holds the database's single write lock from its start (`BEGIN IMMEDIATE` on
  SQLite, a transaction-level advisory lock on PostgreSQL), so what it reads stays true until it
  commits. Readers never wait.
- A committed transaction is on disk (`synchronous=FULL`).
- On PostgreSQL nothing waits for ever: locks, statements, idle transactions and silent connections
  have limits, and what they end is `IndexAway`.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, Row, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DataError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from adapterworks.manifests.errors import IntegrityError, InvalidInput, Refused, Unavailable
from adapterworks.registry.index import migrating, sqlite
from adapterworks.registry.index.hung import HungConnections
from adapterworks.registry.index.migrating import Migration
from adapterworks.registry.index.sqlite import BUSY_TIMEOUT_S

AnyRow = Row[*tuple[Any, ...]]

# SQLITE_CORRUPT, SQLITE_NOTADB; PostgreSQL's code for a missing grant.
_DAMAGED = (11, 26)
# No right to it; no right to see any schema to look in.
_NOT_GRANTED = ("42501", "3F000")
STATEMENT_MORE_S = 5
# How long a server that has gone without a word is waited for; libpq waits for ever.
_CONNECTION = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
# Any constant of our own; PostgreSQL's advisory locks are named by 64-bit integers.
_WRITER_LOCK = 0x6164617074657273


class IndexAway(Unavailable):
    """The index cannot be used now; the message may name where it is."""


class Database:
    """An open database. Threads may share it; a forked child opens its own."""

    def __init__(self, url: str, *, patience: float = BUSY_TIMEOUT_S, durable: bool = True) -> None:
        """Open `url` (`sqlite:///path`, `postgresql://…`); nothing is created yet.

        Args:
            patience: seconds that a lock is waited for; a statement on PostgreSQL has five more.
            durable: whether a committed transaction outlives the machine, not only the process.

        Raises:
            InvalidInput: the URL is malformed or names another kind of database.
        """
        try:
            parsed = make_url(url)
        except ArgumentError as error:
            raise InvalidInput(
                "`ADAPTERS_DATABASE` is not a database URL",
                hint="write `sqlite:///path/index.db` or `postgresql://user@host/database`",
            ) from error
        backend = parsed.get_backend_name()
        if backend in ("postgresql", "postgres"):
            backend = "postgresql"
            parsed = parsed.set(drivername="postgresql+psycopg")
        elif backend != "sqlite":
            raise InvalidInput(
                f"`{backend}` databases are not supported", hint="use sqlite or postgresql"
            )
        self.is_sqlite = backend == "sqlite"
        self.read_only = self.is_sqlite and sqlite.may_only_be_read(parsed.database)
        self._url, self._patience = parsed, patience
        options: dict[str, Any] = {}
        if self.read_only:
            parsed = sqlite.for_reading(parsed)
        elif not self.is_sqlite:
            options = {"pool_timeout": patience, "connect_args": _CONNECTION}
        self.engine: Engine = sa.create_engine(parsed, **options)
        if self.is_sqlite:
            writer = functools.partial(sqlite.configure, patience, durable)
            event.listen(
                self.engine, "connect", sqlite.configure_reader if self.read_only else writer
            )
            event.listen(self.engine, "begin", sqlite.begin)
        else:
            event.listen(self.engine, "connect", functools.partial(_limit_postgresql, patience))
            self._hung = HungConnections(self.engine, patience + 2 * STATEMENT_MORE_S)
        self._writers = self.engine.execution_options(adapters_write=True)
        # Read-committed shows every statement the newest state, in a transaction or not; without a
        # transaction a read is one round trip instead of three.
        self._readers = (
            self.engine
            if self.is_sqlite
            else self.engine.execution_options(isolation_level="AUTOCOMMIT")
        )

    def aside(self, name: str, *, patience: float) -> Database:
        """A database whose writers and these do not wait for each other, for a program's own state.

        On PostgreSQL the same one, with connections of its own; write with a `lock` of its own. On
        SQLite, which has one writer a file, a file beside this one; one that is lost is made anew.
        What is in it need not outlive the machine.

        Args:
            name: of the file.
            patience: as of the constructor.
        """
        url = self._url
        if self.is_sqlite and url.database not in (None, "", ":memory:"):
            path = Path(str(url.database))
            url = url.set(database=str(path.with_name(f"{path.stem}-{name}{path.suffix}")))
        text = url.render_as_string(hide_password=False)
        return Database(text, patience=patience, durable=False)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading, on one snapshot (SQLite) or read-committed (PostgreSQL)."""
        with _reported(self.engine.url), self._readers.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection for reading whose every statement sees the index of the same moment."""
        readers = self._readers
        if not self.is_sqlite:
            readers = self.engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
        with _reported(self.engine.url), readers.connect() as connection:
            yield connection

    @contextmanager
    def write(self, *, lock: str = "") -> Iterator[Connection]:
        """A write transaction that holds the write lock; commits unless the block raises.

        Args:
            lock: a lock of its own on PostgreSQL, for tables that nothing else writes, so that
                they and the registry's do not wait for each other. SQLite has one for a file.

        Raises:
            Unavailable: another writer kept the lock for longer than a minute.
            Refused: this user may only read the index.
        """
        if self.read_only:
            raise Refused(
                f"the index `{self.engine.url.database}` can only be read by this user",
                hint="what changes it needs an account that may write it and its folder",
            )
        with _reported(self.engine.url), self._writers.begin() as connection:
            if not self.is_sqlite:
                connection.execute(
                    sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _lock_number(lock)}
                )
            yield connection

    def settle(self) -> bool:
        """Empty SQLite's write-ahead log into the database, so that it keeps nothing deleted.

        Returns whether it is empty: a reader that holds an older snapshot keeps it. PostgreSQL's
        own log and dead rows are its server's affair.
        """
        if not self.is_sqlite or self.read_only:
            return True
        with _reported(self.engine.url), self.engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            busy: int = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            return not busy

    def migrate(self, namespace: str, migrations: Sequence[Migration]) -> None:
        """As `migrating.migrate`."""
        migrating.migrate(self, namespace, migrations)

    def close(self) -> None:
        """Close every pooled connection."""
        if not self.is_sqlite:
            self._hung.close()
        self.engine.dispose()


def _lock_number(lock: str) -> int:
    """The advisory lock of a name; the registry's has none."""
    return _WRITER_LOCK ^ zlib.crc32(lock.encode())


def _limit_postgresql(patience: float, connection: Any, _record: Any) -> None:
    """No statement, no lock and no idle transaction lasts for ever."""
    statement = int((patience + STATEMENT_MORE_S) * 1000)
    before, connection.autocommit = connection.autocommit, True
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = {int(patience * 1000)}")
        cursor.execute(f"SET statement_timeout = {statement}")
        cursor.execute(f"SET idle_in_transaction_session_timeout = {2 * statement}")
    connection.autocommit = before


@contextmanager
def _reported(url: URL) -> Iterator[None]:
    """Say what cannot be reached, read or done instead of showing a driver's trace."""
    where = f"the index on `{url.host}`" if url.host else "the index"
    try:
        yield
    except (OperationalError, InterfaceError, InternalError, PoolTimeout) as error:
        said = " ".join(str(error if isinstance(error, PoolTimeout) else error.orig).split())
        hint = "check `ADAPTERS_DATABASE` and that no other program locks it"
        if "is full" in said:
            hint = "make room on its disk, then do it again"
        elif "unable to open" in said:
            hint = f"see whether `{url.database}` and its folder are there and may be written"
        raise IndexAway(f"{where} cannot be used: {said}", hint=hint) from error
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) not in _NOT_GRANTED:
            raise
        raise Refused(
            f"{where} does not let this role do that: {str(error.orig).splitlines()[0]}",
            hint="its owner grants what a role needs: docs/reference/registry.md, Roles",
        ) from error
    except DataError as error:
        raise InvalidInput(
            f"{where} cannot keep that value: {str(error.orig).splitlines()[0]}",
            hint="take characters that cannot be shown out of it",
        ) from error
    except ValueError as error:
        if not isinstance(error.__cause__ or error, UnicodeEncodeError):
            raise
        raise InvalidInput(
            f"{where} cannot keep that value: it has bytes that are no UTF-8 text",
            hint="take characters that cannot be shown out of it, or set the terminal to UTF-8",
        ) from error
    except DatabaseError as error:
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
        if code not in _DAMAGED:
            raise
        raise IntegrityError(
            f"`{url.database}` is no index, or damaged: {error.orig}",
            hint="move it away and put a backup in its place: adapters registry restore FILE; "
            "without one: adapters registry rebuild-index",
        ) from error
