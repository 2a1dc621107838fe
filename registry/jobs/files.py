"""Files of tenants: bytes in the blob store under their digest, rows that say whose they are.

Invariants:
- a file's bytes are held by a lease for as long as the file lives, so gc keeps them; equal bytes
  of two tenants are one blob, which neither can tell;
- a file is its tenant's own: another's id, an expired one and a deleted one look like none;
- a tenant's files, and the uploads that it has announced, together stay within its quota, also if
  several are put at once.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.registry.index.database import AnyRow
from adapterworks.registry.jobs import schema
from adapterworks.registry.jobs.quota import alive, require_room, used
from adapterworks.registry.lifecycle import holding, leases
from adapterworks.registry.reading.records import told_at
from adapterworks.registry.registry import Registry

_files = schema.files
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class File:
    """A file. Times are seconds since the epoch.

    Attributes:
        rows, kind: what its lines are, where they were looked at (`messages`, `preference`, …).
        blob: the digest of its bytes.
    """

    sequence: int
    id: str
    tenant: str
    purpose: str
    filename: str
    blob: str
    size: int
    rows: int
    kind: str
    created: float
    expires: float | None


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to be kept.

    Attributes:
        path: where its bytes are now; they hash to `blob`.
        seconds: how long it is kept; None is until it is deleted.
    """

    tenant: str
    purpose: str
    filename: str
    path: Path
    blob: str
    size: int
    rows: int = 0
    kind: str = ""
    seconds: int | None = None


class Files:
    """The files of a registry's tenants."""

    def __init__(self, registry: Registry) -> None:
        schema.migrate(registry.database)
        self._database = registry.database
        self._blobs = registry.blobs
        self._registry = registry

    def put(self, new: NewFile, *, quota: int | None = None) -> File:
        """Keep a file.

        Raises:
            OverQuota: the tenant's files would be above `quota` bytes; nothing is kept.
            CorruptBlob: the bytes do not hash to `new.blob`; nothing is kept.
        """
        (file,) = self.put_with([new], lambda _, ids: ids, quota=quota)
        return self.get(file, new.tenant)

    def put_with(
        self,
        news: Sequence[NewFile],
        then: Callable[[Connection, Sequence[str]], Made],
        *,
        quota: int | None = None,
        instead_of: str | None = None,
    ) -> Made:
        """Keep files and do what goes with them in one transaction: a kill leaves both or neither.

        Args:
            then: given the files' ids; what it raises leaves nothing.
            instead_of: the upload that becomes the file, and need not have room beside it.

        Raises:
            OverQuota: as of `put`.
            CorruptBlob: as of `put`.
        """
        listed: list[tuple[str, NewFile, str]] = []
        try:
            for new in news:
                # Before anything is copied, and again when it is listed.
                self.require_room(new.tenant, new.size, quota, instead_of=instead_of)
                file = f"file-{secrets.token_hex(12)}"
                listed.append((file, new, self._deposit(new, holder=file)))
            with self._database.write() as connection:
                for file, new, lease in listed:
                    _list(connection, file, new, lease, quota, instead_of)
                    holding.keep(connection, lease, new.seconds or holding.FOR_EVER_S)
                return then(connection, [file for file, *_ in listed])
        except BaseException:
            self.let_go([lease for *_, lease in listed])
            raise

    def hold(self, blob: str, path: Path, seconds: float, *, holder: str) -> str:
        """Put bytes of a file to come and hold them for a time; returns the lease."""
        self._registry.require_own_store()
        _refuse_records(path)
        return holding.hold(
            self._database, self._blobs, "part", {blob: path}, holder=holder, seconds=seconds
        )

    def _deposit(self, new: NewFile, *, holder: str) -> str:
        self._registry.require_own_store()
        _refuse_records(new.path)
        return holding.deposit(
            self._database, self._blobs, "file", {new.blob: new.path}, holder=holder
        )

    def let_go(self, held: Sequence[str]) -> None:
        """Give leases back."""
        with self._database.write() as connection:
            for lease in held:
                leases.end(connection, lease)

    def require_room(
        self, tenant: str, size: int, quota: int | None, *, instead_of: str | None = None
    ) -> None:
        """Ask whether `size` more bytes of a tenant fit, as the function of that name does."""
        with self._database.read() as connection:
            require_room(connection, tenant, size, quota, time.time(), instead_of)

    def get(self, file: str, tenant: str) -> File:
        """A tenant's file.

        Raises:
            NotFound: it has none of that id.
        """
        with self._database.read() as connection:
            return _file(_live(connection, file, tenant))

    def listed(
        self,
        tenant: str,
        *,
        purpose: str | None = None,
        after: str | None = None,
        limit: int = 10_000,
        newest_first: bool = True,
    ) -> tuple[list[File], bool]:
        """A tenant's files, and whether there are more.

        Raises:
            InvalidInput: `after` is none of them.
        """
        order = _files.c.sequence.desc() if newest_first else _files.c.sequence.asc()
        query = sa.select(_files).where(alive(tenant, time.time())).order_by(order)
        if purpose is not None:
            query = query.where(_files.c.purpose == purpose)
        with self._database.read() as connection:
            if after is not None:
                last = connection.scalar(
                    sa.select(_files.c.sequence).where(
                        _files.c.id == after, _files.c.tenant == tenant
                    )
                )
                if last is None:
                    raise InvalidInput(f"`after` is no file of yours: `{after[:80]}`")
                beyond = _files.c.sequence < last if newest_first else _files.c.sequence > last
                query = query.where(beyond)
            rows = connection.execute(query.limit(limit + 1)).all()
        return [_file(row) for row in rows[:limit]], len(rows) > limit

    def delete(self, file: str, tenant: str) -> None:
        """Delete a tenant's file; a job that has begun with it keeps its own copy.

        Raises:
            NotFound: it has none of that id.
        """
        with self._database.write() as connection:
            row = _live(connection, file, tenant)
            connection.execute(
                sa.update(_files).where(_files.c.id == file).values(deleted=time.time())
            )
            leases.end(connection, row.lease)

    def chunks(self, file: File) -> Iterator[bytes]:
        """Its bytes, verified: consume them fully before believing any."""
        return self._blobs.get(file.blob)

    def usage(self, tenant: str) -> int:
        """Bytes of a tenant's files together."""
        with self._database.read() as connection:
            return used(connection, tenant, time.time())


def _refuse_records(path: Path) -> None:
    """A gc believes what the store says itself of what it has: no tenant writes that.

    Raises:
        InvalidInput: the bytes are a release's record, or say that something is held.
    """
    if told_at(path) is not None:
        raise InvalidInput("these bytes are a record of a registry, which no file may be")


def _list(
    connection: Connection,
    file: str,
    new: NewFile,
    lease: str,
    quota: int | None,
    instead_of: str | None,
) -> None:
    now = time.time()
    require_room(connection, new.tenant, new.size, quota, now, instead_of)
    connection.execute(
        sa.insert(_files).values(
            id=file,
            tenant=new.tenant,
            purpose=new.purpose,
            filename=new.filename,
            blob=new.blob,
            size=new.size,
            rows=new.rows,
            kind=new.kind,
            created=now,
            expires=None if new.seconds is None else now + new.seconds,
            lease=lease,
        )
    )


def missing(file: str) -> NotFound:
    """The one answer to a file that does not exist and to another tenant's."""
    return NotFound(f"there is no file `{file[:80]}`", hint="`GET /v1/files` lists yours")


def _live(connection: Connection, file: str, tenant: str) -> AnyRow:
    query = sa.select(_files).where(_files.c.id == file, alive(tenant, time.time()))
    row = connection.execute(query).first()
    if row is None:
        raise missing(file)
    return row


def _file(row: AnyRow) -> File:
    return File(
        row.sequence, row.id, row.tenant, row.purpose, row.filename, row.blob, row.size, row.rows,
        row.kind, row.created, row.expires,
    )  # fmt: skip
