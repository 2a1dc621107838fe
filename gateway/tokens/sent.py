"""Bytes that are sent for a release, part by part, until the whole has the digest it was said to.

Invariants:
- what is in the blob store was hashed whole; a part that does not follow the last one is refused
  with how far it is, so that a sender who was cut off goes on from there;
- what was sent is kept for a day until it is published, however long the rest of it takes;
- an upload to which nobody has added for a day is removed, by a server that takes others and by gc;
- a release can be published only with bytes that its publisher has: sent by the same token, or
  named by a release that every reader may fetch. A digest alone opens nothing; and only with the
  sizes that they have, since by these they are fetched, whoever's release names them too;
- what was erased here is not kept again: it counts as sent, so that a release that had it can be
  published without it, and its bytes are refused.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa

from adapterworks.gateway.storage.schema import sent
from adapterworks.manifests.errors import Conflict, InvalidInput, NotFound, Refused
from adapterworks.registry.index import absences
from adapterworks.registry.lifecycle import holding, leases
from adapterworks.registry.lifecycle.gc import STAGED_S
from adapterworks.registry.reading.records import told_at
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.absence import Absence
from adapterworks.registry.releases.staged import is_staged

_WHO = "anonymous"
SENT = "sent"  # the kind of its leases
_SWEEP_S = 3600.0


class Sent:
    """What tokens have sent to a registry, and are sending."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._staging = registry.arriving
        self._swept = 0.0

    def received(self, token: str, digest: str) -> tuple[int, bool]:
        """Bytes of a blob that came from a token, and whether it is whole: no more is due."""
        if self._erased(digest) is not None:
            return 0, True
        size = self._size(token, digest)
        if size is not None:
            return size, True
        path = self._path(token, digest)
        return (path.stat().st_size if path.exists() else 0), False

    def add(self, token: str, digest: str, start: int, part: bytes, total: int) -> int:
        """Append a part; returns how many bytes are here now.

        Raises:
            Conflict: it does not follow what is here; the message says where to go on.
            CorruptBlob: all are here, and are not what the digest says; none is kept.
            InvalidInput: they are a deposit, or a release's record.
            Refused: they were erased here.
        """
        self._refuse_erased(digest)
        path = self._path(token, digest)
        self._staging.mkdir(parents=True, exist_ok=True)
        if time.time() - self._swept > _SWEEP_S:
            self._swept = time.time()
            self._sweep(self._swept - STAGED_S)
        with _held(path.with_suffix(".lock")):
            here, whole = self.received(token, digest)
            if whole:
                return here
            if start != here or here + len(part) > total:
                raise Conflict(
                    f"{here} of {total} bytes are here, and the part begins at {start}",
                    hint=f"go on from {here}",
                )
            with path.open("ab") as file:
                file.write(part)
            here += len(part)
            if here == total:
                self._keep(token, digest, path, total)
            return here

    def _sweep(self, before: float) -> None:
        for path in filter(is_staged, self._staging.iterdir()):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()

    def require(self, token: str, files: Iterable[tuple[str, int | None]]) -> None:
        """Check that a publisher has all bytes of a release.

        Args:
            files: digests, each with how many bytes a record says that it has, if one does.

        Raises:
            Conflict: naming those that are to be sent.
            InvalidInput: a record says another size: others fetch the same bytes by it.
        """
        lacking = []
        for digest, said in sorted(set(files)):
            if self._erased(digest) is not None:  # whether it can be without is for who lists it
                continue
            size = self._had(token, digest)
            if size is None:
                lacking.append(digest)
            elif said not in (None, size):
                raise InvalidInput(f"the record says {said} bytes of {digest}, which has {size}")
        if lacking:
            raise Conflict(
                f"{len(lacking)} files were not sent: {', '.join(lacking[:20])}",
                hint="send each to /v1/registry/sent/DIGEST, then publish",
            )

    def _had(self, token: str, digest: str) -> int | None:
        """The size of bytes that a token has sent, or that every reader may fetch."""
        size = self._size(token, digest)
        if size is not None:
            return size
        try:
            size = self._registry.size_of_blob(digest)
        except NotFound:
            return None
        return size if self._registry.blobs.exists(digest) else None

    def _keep(self, token: str, digest: str, path: Path, size: int) -> None:
        try:
            self._registry.require_own_store()
            if told_at(path) is not None:  # a gc and `rebuild-index` believe them
                raise InvalidInput("these bytes say what a registry holds, which no file may do")
            with self._registry.database.write() as connection:
                for old in leases.held_by(connection, SENT, digest):
                    leases.end(connection, old)
                leases.take(connection, SENT, [digest], holder=digest, seconds=STAGED_S)
            holding.wait_for_gc(self._registry.database, [digest])
            self._registry.blobs.put(digest, path)
        finally:
            path.unlink(missing_ok=True)
        with self._registry.database.write() as connection:
            gone = (sent.c.token == token) & (sent.c.digest == digest)
            connection.execute(sa.delete(sent).where(gone))
            connection.execute(
                sa.insert(sent).values(token=token, digest=digest, size=size, at=time.time())
            )
        if self._erased(digest) is not None:  # meanwhile: an erasure has the last word
            self._registry.blobs.delete(digest)
            self._refuse_erased(digest)

    def _size(self, token: str, digest: str) -> int | None:
        """Bytes of what the token has sent whole, while they are in the store."""
        query = sa.select(sent.c.size).where(sent.c.token == token, sent.c.digest == digest)
        with self._registry.database.read() as connection:
            size = connection.scalar(query)
        return size if size is not None and self._registry.blobs.exists(digest) else None

    def _erased(self, digest: str) -> Absence | None:
        with self._registry.database.read() as connection:
            return absences.erased(connection, [digest]).get(digest)

    def _refuse_erased(self, digest: str) -> None:
        if gone := self._erased(digest):
            raise Refused(
                f"the bytes {digest} were {gone}",
                hint="what was erased does not come back; publish without sending them",
            )

    def _path(self, token: str, digest: str) -> Path:
        return self._staging / f"{token or _WHO}-{digest.removeprefix('sha256:')}"


@contextmanager
def _held(lock: Path) -> Iterator[None]:
    """One part of a blob at a time, whichever process takes it."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
