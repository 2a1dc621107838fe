"""Uploads: a file that comes in parts, in any order and from any connection, within an hour.

A part's bytes are a blob of their own, held by a lease until the upload ends; completing puts the
parts together in the order that the client names. An upload whose hour is over is `expired`; its
leases end by themselves.

Invariant: what has been announced and is neither whole nor over counts as a file of its tenant's.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.errors import Conflict, InvalidInput, NotFound
from adapterworks.registry.index.database import AnyRow
from adapterworks.registry.jobs import schema
from adapterworks.registry.jobs.files import Files
from adapterworks.registry.jobs.quota import OverQuota, pending_of, require_room
from adapterworks.registry.lifecycle import leases
from adapterworks.registry.registry import Registry

LIFE_S = 3600
MOST_PENDING = 100
"""Uploads of a tenant that are neither whole nor over."""
MOST_PARTS = 10_000
PENDING, COMPLETED, CANCELLED, EXPIRED = "pending", "completed", "cancelled", "expired"

_uploads, _parts = schema.uploads, schema.parts


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload; `size` is what was announced, `keep_seconds` how long the file is to be kept."""

    id: str
    tenant: str
    purpose: str
    filename: str
    size: int
    keep_seconds: int | None
    created: float
    expires: float
    state: str
    file: str | None


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an upload."""

    id: str
    upload: str
    blob: str
    size: int
    created: float


class Uploads:
    """The uploads of a registry's tenants."""

    def __init__(self, registry: Registry, files: Files) -> None:
        self._database = registry.database
        self._blobs = registry.blobs
        self._files = files

    def begin(
        self,
        tenant: str,
        *,
        purpose: str,
        filename: str,
        size: int,
        keep_seconds: int | None,
        quota: int | None = None,
    ) -> Upload:
        """Announce a file of `size` bytes.

        Raises:
            OverQuota: the tenant's files would be above `quota` bytes with it, or too many of its
                uploads are neither whole nor over.
        """
        upload, now = f"upload_{secrets.token_hex(12)}", time.time()
        with self._database.write() as connection:
            require_room(connection, tenant, size, quota, now)
            pending = sa.select(sa.func.count()).where(pending_of(tenant, now))
            if int(connection.scalar(pending) or 0) >= MOST_PENDING:
                raise OverQuota(
                    f"{MOST_PENDING} uploads of yours are not whole, as many as there may be",
                    hint="complete or cancel some; each is over by itself after an hour",
                )
            connection.execute(
                sa.insert(_uploads).values(
                    id=upload,
                    tenant=tenant,
                    purpose=purpose,
                    filename=filename,
                    size=size,
                    keep_seconds=keep_seconds,
                    created=now,
                    expires=now + LIFE_S,
                    state=PENDING,
                )
            )
            return _upload(_own(connection, upload, tenant))

    def get(self, upload: str, tenant: str) -> Upload:
        """A tenant's upload.

        Raises:
            NotFound: it has none of that id.
        """
        with self._database.read() as connection:
            return _upload(_own(connection, upload, tenant))

    def add(self, upload: str, tenant: str, path: Path, blob: str, size: int) -> Part:
        """Add a part, whose bytes are at `path` and hash to `blob`.

        Raises:
            NotFound: the tenant has no such upload.
            Conflict: it is not pending any more.
            InvalidInput: the part is empty, or the parts are more than was announced.
        """
        found = self.get(upload, tenant)
        require_pending(found)
        if not size:
            raise InvalidInput("the part has no bytes")
        part = f"part_{secrets.token_hex(12)}"
        lease = self._files.hold(blob, path, found.expires - time.time(), holder=part)
        try:
            with self._database.write() as connection:
                require_pending(_upload(_own(connection, upload, tenant)))
                total = sa.func.coalesce(sa.func.sum(_parts.c.size), 0)
                held, count = connection.execute(
                    sa.select(total, sa.func.count()).where(_parts.c.upload == upload)
                ).one()
                if count >= MOST_PARTS:
                    raise InvalidInput(f"an upload may have {MOST_PARTS} parts")
                if int(held) + size > found.size:
                    raise InvalidInput(
                        f"the parts together are above the {found.size} bytes that were announced",
                        hint="create the upload with the file's whole size as `bytes`",
                    )
                row = {
                    "id": part,
                    "upload": upload,
                    "blob": blob,
                    "size": size,
                    "created": time.time(),
                    "lease": lease,
                }
                connection.execute(sa.insert(_parts).values(row))
        except BaseException:
            self._files.let_go([lease])
            raise
        return Part(part, upload, blob, size, float(str(row["created"])))

    def parts(self, upload: Upload, wanted: Sequence[str]) -> list[Part]:
        """The parts that a client names, in its order.

        Raises:
            InvalidInput: one is none of the upload's, comes twice, or they are not its size.
        """
        query = sa.select(_parts).where(_parts.c.upload == upload.id)
        with self._database.read() as connection:
            known = {row.id: row for row in connection.execute(query)}
        if len(set(wanted)) != len(wanted):
            raise InvalidInput("`part_ids` names a part twice")
        for part in wanted:
            if part not in known:
                raise InvalidInput(f"`{part[:80]}` is no part of this upload")
        rows = [known[part] for part in wanted]
        size = sum(row.size for row in rows)
        if size != upload.size:
            raise InvalidInput(
                f"the parts are {size} bytes, and {upload.size} were announced",
                hint="name all parts in the order of the file",
            )
        return [Part(row.id, row.upload, row.blob, row.size, row.created) for row in rows]

    def chunks(self, parts: Sequence[Part]) -> Iterator[bytes]:
        """The bytes of parts one after the other, verified."""
        for part in parts:
            yield from self._blobs.get(part.blob)

    def complete(self, connection: Connection, upload: str, tenant: str, file: str) -> Upload:
        """The upload is a file now; in the transaction that lists the file.

        Raises:
            Conflict: it is not pending any more.
        """
        return _end(connection, upload, tenant, COMPLETED, file)

    def cancel(self, upload: str, tenant: str) -> Upload:
        """Give an upload up.

        Raises:
            NotFound: the tenant has no such upload.
            Conflict: it is not pending any more.
        """
        with self._database.write() as connection:
            return _end(connection, upload, tenant, CANCELLED, None)


def _end(connection: Connection, upload: str, tenant: str, state: str, file: str | None) -> Upload:
    require_pending(_upload(_own(connection, upload, tenant)))
    connection.execute(
        sa.update(_uploads).where(_uploads.c.id == upload).values(state=state, file=file)
    )
    for lease in connection.scalars(
        sa.select(_parts.c.lease).where(_parts.c.upload == upload)
    ).all():
        leases.end(connection, lease)
    return _upload(_own(connection, upload, tenant))


def _own(connection: Connection, upload: str, tenant: str) -> AnyRow:
    query = sa.select(_uploads).where(_uploads.c.id == upload, _uploads.c.tenant == tenant)
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"there is no upload `{upload[:80]}`")
    return row


def require_pending(upload: Upload) -> None:
    """Raises Conflict if an upload has been completed or cancelled, or is over."""
    if upload.state != PENDING:
        raise Conflict(f"the upload `{upload.id}` is {upload.state}")


def _upload(row: AnyRow) -> Upload:
    over = row.state == PENDING and row.expires <= time.time()
    return Upload(
        row.id, row.tenant, row.purpose, row.filename, row.size, row.keep_seconds, row.created,
        row.expires, EXPIRED if over else row.state, row.file,
    )  # fmt: skip
