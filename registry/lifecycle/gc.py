"""Garbage collection: remove the bytes that no live version and no lease needs.

Safe beside anything else that runs: a blob is judged and deleted while the database's write lock is
held, and whoever needs a blob takes a lease under that lock before looking whether it is there. A
grace period keeps young blobs whatever the index says. Erased bytes are needed by nobody: what an
erasure could not reach (a killed one, another machine's checkouts) goes at once.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.registry.blobs.local import LocalBlobs
from adapterworks.registry.blobs.store import BlobInfo, BlobStore
from adapterworks.registry.index import absences, schema
from adapterworks.registry.index.database import Database
from adapterworks.registry.lifecycle import leases
from adapterworks.registry.reading.checkout import locked, remove_tree
from adapterworks.registry.releases.absence import ERASED

GRACE_S = 3600.0
# A staged file has no lease; that nobody wrote to it for a day is what says that its writer died.
STAGED_S = 86400.0
# Deletions under one hold of the write lock: enough to be quick, few enough not to be felt.
BATCH = 100

_versions, _blobs, _lease_blobs = schema.versions, schema.release_blobs, schema.lease_blobs
_absences = schema.absences
_ERASED = _absences.c.state == ERASED


@dataclass
class GcReport:
    """What was (or with `dry_run` would be) removed; `bytes` counts blobs only."""

    dry_run: bool
    blobs: list[BlobInfo] = field(default_factory=list)
    kept: int = 0
    young: int = 0
    checkouts: list[str] = field(default_factory=list)
    staged: int = 0
    leases: int = 0

    @property
    def bytes(self) -> int:
        """Bytes of the removed blobs."""
        return sum(blob.size for blob in self.blobs)


def collect(
    database: Database,
    blobs: BlobStore,
    checkouts: Path,
    *,
    grace: float = GRACE_S,
    dry_run: bool = False,
) -> GcReport:
    """Remove what nothing needs; see the module's docstring.

    Args:
        grace: seconds that a blob or a checkout is kept at least; staged files are kept a day.
    """
    report = GcReport(dry_run)
    limit = time.time() - grace
    with database.read() as connection:
        erased = set(connection.scalars(sa.select(_absences.c.blob).where(_ERASED)))
    old: list[BlobInfo] = []
    for blob in blobs.list():
        if blob.modified > limit and blob.digest not in erased:
            report.young += 1
        else:
            old.append(blob)
    for batch in _batches(old):
        with database.write() as connection:
            if not dry_run:
                report.leases += leases.sweep(connection)
            needed = _needed(connection, [blob.digest for blob in batch])
            for blob in batch:
                if blob.digest in needed:
                    report.kept += 1
                    continue
                report.blobs.append(blob)
                if not dry_run:
                    blobs.delete(blob.digest)
    _collect_checkouts(database, checkouts, limit, report)
    staging = [checkouts / "tmp", *([blobs.staging] if isinstance(blobs, LocalBlobs) else [])]
    for folder in staging:
        _sweep_staged(folder, time.time() - max(grace, STAGED_S), report)
    return report


def _needed(connection: Connection, digests: list[str]) -> set[str]:
    """Which of the blobs a live version or an unexpired lease needs."""
    live = (
        sa.select(_blobs.c.blob)
        .join(_versions, _versions.c.digest == _blobs.c.release)
        .where(_blobs.c.blob.in_(digests), _versions.c.deleted.is_(None))
    )
    leased = (
        sa.select(_lease_blobs.c.blob)
        .join(schema.leases, schema.leases.c.id == _lease_blobs.c.lease)
        .where(_lease_blobs.c.blob.in_(digests), schema.leases.c.expires >= time.time())
    )
    gone = sa.select(_absences.c.blob).where(_ERASED, _absences.c.blob.in_(digests))
    return set(connection.scalars(sa.union(live, leased))) - set(connection.scalars(gone))


def _collect_checkouts(database: Database, checkouts: Path, limit: float, report: GcReport) -> None:
    for folder in checkouts.glob("*"):
        if len(folder.name) != 64:
            continue
        digest = f"sha256:{folder.name}"
        with locked(checkouts, digest):
            with database.read() as connection:
                absent = absences.of_release(connection, digest)
                erased = any(
                    absence.state == ERASED and (folder / path).exists()
                    for path, absence in absent.items()
                )
                young = folder.stat().st_mtime > limit
                if not erased and (young or _needed(connection, [digest])):
                    continue
            report.checkouts.append(digest)
            if not report.dry_run:
                remove_tree(folder, checkouts)


def _sweep_staged(folder: Path, limit: float, report: GcReport) -> None:
    for staged in folder.glob("*"):
        # Its owner may finish and rename it at any moment.
        with contextlib.suppress(FileNotFoundError):
            if staged.stat().st_mtime > limit:
                continue
            report.staged += 1
            if report.dry_run:
                continue
            if staged.is_dir():
                shutil.rmtree(staged, ignore_errors=True)
            else:
                staged.unlink(missing_ok=True)


def _batches(blobs: Iterable[BlobInfo]) -> Iterator[list[BlobInfo]]:
    iterator = iter(blobs)
    while batch := list(islice(iterator, BATCH)):
        yield batch
