"""`Exchanges`: what is kept of answers, and what people said of them.

Invariants:
- a file is written before its row and removed before it, so what is listed can be read, and what a
  crash leaves over has no row and is removed by `sweep`;
- the file of a receipt that is known is never written over: answer and release belong together;
- nothing that was asked before a tenant's things were erased is kept after that, whichever process
  had it in hand.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from adapterworks.manifests.errors import IntegrityError, NotFound
from adapterworks.registry.exchanges.exchange import Exchange, Feedback, Subject
from adapterworks.registry.exchanges.files import SealedFiles, Staged
from adapterworks.registry.exchanges.keyring import Keyring, default_keys
from adapterworks.registry.exchanges.orphans import remove_orphans
from adapterworks.registry.exchanges.removing import remove
from adapterworks.registry.exchanges.rows import (
    erased_since,
    exchange_of,
    feedback_of,
    find,
    of_tenant,
    row_of,
    sealed_of,
)
from adapterworks.registry.exchanges.schema import MIGRATIONS, NAMESPACE, exchanges
from adapterworks.registry.exchanges.schema import feedback as said
from adapterworks.registry.index.database import Database

if TYPE_CHECKING:
    from adapterworks.registry.registry import Registry

ORPHAN_SECONDS = 3600.0  # no write takes longer between its file and its row
PAGE = 200


class Exchanges:
    """The captured exchanges of an index.

    Args:
        database: where the rows are.
        folder: where the sealed files are.
        keys: folder of the tenants' keys.
    """

    def __init__(self, database: Database, folder: Path, keys: Path) -> None:
        database.migrate(NAMESPACE, MIGRATIONS)
        self.database = database
        self.files = SealedFiles(folder, Keyring(keys))
        self._looked = 0.0

    @classmethod
    def of(cls, registry: Registry, keys: Path | None = None) -> Exchanges:
        """Those of a registry; the keys beside its home unless a folder is given."""
        home = registry.home
        return cls(registry.database, home / "exchanges", keys or default_keys(home))

    def put(self, made: Sequence[Exchange]) -> int:
        """Keep exchanges; returns how many. Those of erased tenants and known receipts are not.

        What a machine that stops loses does not open any more, and is passed over.

        Raises:
            Unavailable: disk or index.
        """
        with self.database.read() as connection:
            wanted = [item for item in made if not erased_since(connection, item)]
        staged: list[Staged] = []
        kept = 0
        try:
            for item in wanted:
                sealed = sealed_of(item)
                staged.append(self.files.stage(item.tenant, item.receipt, sealed, durable=False))
            # A file comes into its place under the lock by which its row does: what is kept of a
            # receipt is whole, whoever puts the same at the same time.
            with self.database.write() as connection:
                for item, file in zip(wanted, staged, strict=True):
                    known = connection.scalar(
                        sa.select(exchanges.c.sequence).where(exchanges.c.receipt == item.receipt)
                    )
                    if known is None and not erased_since(connection, item):
                        file.keep()
                        connection.execute(sa.insert(exchanges).values(**row_of(item, file.size)))
                        kept += 1
        finally:
            for file in staged:
                file.discard()
        return kept

    def get(self, tenant: str, name: str) -> Exchange:
        """One exchange, by the id of its completion or by its receipt.

        Raises:
            NotFound: the tenant has no such exchange.
        """
        with self.database.read() as connection:
            row = find(connection, tenant, name)
        if row is None or row.expires <= time.time():
            raise NotFound(f"there is no stored completion `{name[:200]}`")
        return exchange_of(row, self.files)

    def judged(self, tenant: str, name: str) -> Exchange:
        """As `get`, with what people said of it.

        Raises:
            NotFound: the tenant has no such exchange.
        """
        found = self.get(tenant, name)
        return found.with_feedback(tuple(self._said(found)))

    def listed(
        self,
        tenant: str,
        *,
        after: str | None = None,
        limit: int = 20,
        newest_first: bool = False,
        model: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> tuple[list[Exchange], bool]:
        """A page of a tenant's exchanges, and whether more follow.

        Args:
            after: id of the last of the page before.
            model: only those that were asked of this model, as the client named it.
            metadata: only those whose metadata have all these pairs.

        Raises:
            NotFound: `after` names none of the tenant's.
        """
        query = of_tenant(tenant).where(exchanges.c.expires > time.time())
        if model is not None:
            query = query.where(exchanges.c.ref == model)
        edge = None
        if after is not None:
            with self.database.read() as connection:
                row = find(connection, tenant, after)
            if row is None:
                raise NotFound(f"there is no stored completion `{after[:200]}`")
            edge = int(row.sequence)
        found: list[Exchange] = []
        for item in self._walk(query, edge, newest_first):
            if metadata and any(item.metadata.get(k) != v for k, v in metadata.items()):
                continue
            if len(found) == limit:
                return found, True
            found.append(item)
        return found, False

    def set_metadata(self, tenant: str, name: str, metadata: Mapping[str, str]) -> Exchange:
        """Give an exchange other metadata.

        Raises:
            NotFound: the tenant has no such exchange.
        """
        changed = replace(self.get(tenant, name), metadata=dict(metadata))
        size = self.files.write(tenant, changed.receipt, sealed_of(changed))
        with self.database.write() as connection:
            kept = connection.execute(
                sa.update(exchanges).where(exchanges.c.receipt == changed.receipt).values(size=size)
            )
        if not kept.rowcount:  # it was deleted meanwhile
            self.files.remove(tenant, changed.receipt)
            raise NotFound(f"there is no stored completion `{name[:200]}`")
        return changed

    def delete(self, tenant: str, name: str) -> str:
        """Remove an exchange and the texts said of it; scores stay. Returns its id.

        Raises:
            NotFound: the tenant has no such exchange.
        """
        with self.database.read() as connection:
            row = find(connection, tenant, name)
        if row is None:
            raise NotFound(f"there is no stored completion `{name[:200]}`")
        remove(self.database, self.files, [row])
        return str(row.id)

    def read(
        self, *, tenant: str | None = None, adapter: str | None = None, since: float = 0.0
    ) -> Iterator[Exchange]:
        """Exchanges that are kept, oldest first, with what people said of them.

        What is removed while this goes on, and what a key of this machine does not open, is passed
        over.

        Args:
            tenant: id of a tenant.
            adapter: a name, or `base:NAME`.
            since: captured at this time or later, seconds since the epoch.
        """
        now = time.time()
        query = sa.select(exchanges).where(exchanges.c.expires > now, exchanges.c.created >= since)
        if tenant is not None:
            query = query.where(exchanges.c.tenant == tenant)
        if adapter is not None:
            query = query.where(exchanges.c.adapter == adapter)
        for item in self._walk(query, None, False):
            yield item.with_feedback(tuple(self._said(item)))

    def subject(self, tenant: str, name: str) -> Subject | None:
        """What feedback on a kept exchange is about; None where it is not kept."""
        with self.database.read() as connection:
            row = find(connection, tenant, name)
        if row is None or row.expires <= time.time():
            return None
        return Subject(row.receipt, row.adapter, row.release or row.base, kept=True)

    def shorten(self, tenant: str, retain: float) -> None:
        """Let a tenant's exchanges expire no later than so many seconds after they were made."""
        until = exchanges.c.created + retain
        with self.database.write() as connection:
            connection.execute(
                sa.update(exchanges)
                .where(exchanges.c.tenant == tenant, exchanges.c.expires > until)
                .values(expires=until)
            )

    def expired(self, now: float) -> int:
        """How many exchanges have expired and are still here."""
        query = sa.select(sa.func.count()).where(exchanges.c.expires <= now)
        with self.database.read() as connection:
            return int(connection.scalar(query) or 0)

    def sweep(self, now: float) -> int:
        """Remove what has expired and what a crash left over; returns how many exchanges went.

        Raises:
            Unavailable: disk or index.
        """
        gone = 0
        while True:
            query = sa.select(exchanges).where(exchanges.c.expires <= now).limit(PAGE)
            with self.database.read() as connection:
                rows = connection.execute(query).all()
            remove(self.database, self.files, rows)
            gone += len(rows)
            if len(rows) < PAGE:
                break
        if abs(now - self._looked) >= ORPHAN_SECONDS:  # each look reads the names of all files
            remove_orphans(self.database, self.files, now - ORPHAN_SECONDS)
            self._looked = now
        return gone

    def _walk(
        self, query: sa.Select[Any], edge: int | None, newest_first: bool
    ) -> Iterator[Exchange]:
        """The exchanges of a query, a page of rows at a time."""
        at = exchanges.c.sequence
        query = query.order_by(at.desc() if newest_first else at).limit(PAGE)
        while True:
            paged = query
            if edge is not None:
                paged = query.where(at < edge if newest_first else at > edge)
            with self.database.read() as connection:
                rows = connection.execute(paged).all()
            for row in rows:
                try:
                    yield exchange_of(row, self.files)
                except (NotFound, IntegrityError):
                    continue
            if len(rows) < PAGE:
                return
            edge = int(rows[-1].sequence)

    def _said(self, item: Exchange) -> Iterator[Feedback]:
        query = (
            sa.select(said)
            .where(said.c.tenant == item.tenant, said.c.receipt == item.receipt)
            .order_by(said.c.sequence)
        )
        with self.database.read() as connection:
            rows = connection.execute(query).all()
        return (feedback_of(row, self.files) for row in rows)
