"""Garbage collection: bytes that no live version and no lease needs go to the trash, then for good.

    whose store is it → list → what is not needed → does the index know its releases → mark → move
    to the trash → take the marks away → delete what was in the trash for longer than the grace

Safe beside anything else that runs: blobs are judged and marked while the database's write lock is
held, and moved without it; whoever needs a blob takes a lease under that lock before looking
whether it is there, and waits while it is marked. Young blobs stay whatever the index says. Nothing
goes where the store has releases, or deposits of datasets, seals and files, that this index never
listed: it is an old copy, or another registry's. What is in the trash and needed again is moved
back. Erased bytes are needed by nobody: what an erasure could not reach (a killed one, another
machine's checkouts) goes at once.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.errors import Refused
from adapterworks.registry.blobs.local import LocalBlobs
from adapterworks.registry.blobs.store import BlobInfo, Store
from adapterworks.registry.index import absences, schema, stores
from adapterworks.registry.index.clock import now_s
from adapterworks.registry.index.database import Database
from adapterworks.registry.lifecycle import holding, leases
from adapterworks.registry.lifecycle.identity import shown
from adapterworks.registry.reading.checkout import locked, remove_tree
from adapterworks.registry.reading.records import told_by
from adapterworks.registry.releases.absence import ERASED
from adapterworks.registry.releases.deposit import Deposit
from adapterworks.registry.releases.release import Release
from adapterworks.registry.releases.staged import is_staged

GRACE_S = 7 * 86400.0
# A blob this young may be one that a publish has put and not listed, by a clock that is behind.
YOUNG_S = 3600.0
# A staged file has no lease; that nobody wrote to it for a day is what says that its writer died.
STAGED_S = 86400.0
# Blobs that are marked and moved together.
BATCH = 100
# How long publishers wait for a batch at most; a gc that is slower leaves the rest to the next.
MARK_S = 30.0

_versions, _blobs, _lease_blobs = schema.versions, schema.release_blobs, schema.lease_blobs
_absences = schema.absences
_ERASED = _absences.c.state == ERASED


@dataclass
class GcReport:
    """What was (or with `dry_run` would be) done.

    Attributes:
        blobs: moved to the trash; those that had been erased are gone.
        deleted: from the trash, for good.
        recovered: moved back from the trash, because something needs them.
        trash: how many are in the trash then.
        kept: blobs that something needs.
        young: blobs that are too young to be judged.
    """

    dry_run: bool
    blobs: list[BlobInfo] = field(default_factory=list)
    deleted: list[BlobInfo] = field(default_factory=list)
    recovered: list[BlobInfo] = field(default_factory=list)
    trash: int = 0
    kept: int = 0
    young: int = 0
    checkouts: list[str] = field(default_factory=list)
    staged: int = 0
    leases: int = 0

    @property
    def bytes(self) -> int:
        """Bytes of the blobs that left their places."""
        return sum(blob.size for blob in self.blobs)

    @property
    def empty(self) -> bool:
        """Whether there was nothing to do."""
        moved = (self.blobs, self.deleted, self.recovered, self.checkouts)
        return not (any(moved) or self.staged or self.leases)


def collect(
    database: Database,
    blobs: Store,
    checkouts: Path,
    *,
    grace: float = GRACE_S,
    unlisted: bool = False,
    dry_run: bool = False,
    arriving: Sequence[Path] = (),
) -> GcReport:
    """Remove what nothing needs; see the module's docstring.

    Args:
        grace: seconds in the trash before a blob is deleted. Blobs and checkouts younger than an
            hour, or than that, are not judged; staged files are kept a day.
        unlisted: collect releases and deposits too that this index never listed.
        arriving: folders of uploads, which are staged files too.

    Raises:
        Refused: the store has what this index never listed; nothing was moved.
    """
    report = GcReport(dry_run)
    limit = time.time() - min(grace, YOUNG_S)
    with database.read() as connection:
        erased = set(connection.scalars(sa.select(_absences.c.blob).where(_ERASED)))
    old: list[BlobInfo] = []
    for blob in blobs.list():
        if blob.modified > limit and blob.digest not in erased:
            report.young += 1
        else:
            old.append(blob)
    doomed = []
    for batch in _batches(old):
        with database.read() as connection:
            needed = _needed(connection, [blob.digest for blob in batch])
        report.kept += len(needed)
        doomed += [blob for blob in batch if blob.digest not in needed]
    if not unlisted:
        _refuse_unlisted(database, blobs, [blob for blob in doomed if blob.digest not in erased])
    if dry_run:
        report.blobs = doomed
    else:
        for batch in _batches(doomed):
            _discard(database, blobs, batch, erased, report)
    _empty_trash(database, blobs, time.time() - grace, report)
    _collect_checkouts(database, checkouts, limit, report)
    staging = [checkouts / "tmp", *([blobs.staging] if isinstance(blobs, LocalBlobs) else [])]
    for folder in (*staging, *arriving):
        _sweep_staged(folder, time.time() - max(grace, STAGED_S), report)
    if not dry_run:
        with database.write() as connection:
            report.leases = leases.sweep(connection)
        holding.deposit_older(database, blobs)
    return report


def _refuse_unlisted(database: Database, blobs: Store, doomed: list[BlobInfo]) -> None:
    """Stop where the store has what this index knows nothing of: releases, rows, seals, files."""
    releases: list[Release] = []
    deposits: list[Deposit] = []
    for batch in _batches(doomed):
        with database.read() as connection:
            known = stores.known(connection, [blob.digest for blob in batch])
        for blob in batch:
            found = None if blob.digest in known else told_by(blobs, blob)
            if isinstance(found, Release):
                releases.append(found)
            elif found is not None:
                deposits.append(found)
    if not releases and not deposits:
        return
    kinds = Counter(deposit.kind for deposit in deposits)
    counts = [f"{len(releases)} releases"] if releases else []
    counts += [f"{count} {kind}s" for kind, count in sorted(kinds.items())]
    raise Refused(
        f"nothing was removed: `{blobs.url}` has {', '.join(counts)} that the index "
        f"`{shown(database)}` never listed, as {_example(releases, deposits)}: the index is older "
        "than the store, or another registry's",
        hint="open the right index (`ADAPTERS_DATABASE`), or list them: adapters registry "
        "rebuild-index (files of tenants cannot be: they are in a backup of the index only); if "
        "they are not wanted: adapters gc --unlisted",
    )


def _example(releases: Sequence[Release], deposits: Sequence[Deposit]) -> str:
    if not releases:
        return f"the {deposits[0].kind} `{deposits[0].holder}`"
    newest = max(releases, key=lambda release: release.created)
    return f"`{newest.name}` of {newest.created[:10]} ({newest.digest[7:19]})"


def _discard(
    database: Database, blobs: Store, batch: list[BlobInfo], erased: set[str], report: GcReport
) -> None:
    """Move a batch to the trash, but for what is needed by now."""
    digests = [blob.digest for blob in batch]
    with database.write() as connection:
        needed = _needed(connection, digests)
        stores.doom(connection, [digest for digest in digests if digest not in needed], MARK_S)
    report.kept += len(needed)
    started, moved = time.monotonic(), []
    back: set[str] = set()
    try:
        for blob in batch:
            if blob.digest in needed:
                continue
            if time.monotonic() - started > MARK_S / 2:
                break
            if blob.digest in erased:
                blobs.delete(blob.digest)
            else:
                blobs.discard(blob.digest)
            moved.append(blob)
    finally:
        with database.write() as connection:
            # Whoever waited for us for too long has gone on without the blob.
            back = _needed(connection, [blob.digest for blob in moved])
            stores.forgive(connection, digests)
            stores.forget_begun(connection, {blob.digest for blob in moved} - back)
        for digest in back:
            blobs.recover(digest)
    report.blobs += [blob for blob in moved if blob.digest not in back]


def _empty_trash(database: Database, blobs: Store, limit: float, report: GcReport) -> None:
    """Delete what was in the trash for long enough; move back what is needed and missing."""
    for batch in _batches(blobs.list_discarded()):
        with database.read() as connection:
            needed = _needed(connection, [blob.digest for blob in batch])
        for blob in batch:
            if blob.digest in needed and not blobs.exists(blob.digest):
                report.recovered.append(blob)
                if not report.dry_run:
                    blobs.recover(blob.digest)
            elif blob.modified > limit:
                report.trash += 1
            else:
                report.deleted.append(blob)
                if not report.dry_run:
                    blobs.delete_discarded(blob.digest)


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
        .where(_lease_blobs.c.blob.in_(digests), schema.leases.c.expires >= now_s(connection))
    )
    gone = sa.select(_absences.c.blob).where(_ERASED, _absences.c.blob.in_(digests))
    return set(connection.scalars(sa.union(live, leased))) - set(connection.scalars(gone))


def _collect_checkouts(database: Database, checkouts: Path, limit: float, report: GcReport) -> None:
    for folder in checkouts.glob("*"):
        if len(folder.name) != 64:
            continue
        digest = f"sha256:{folder.name}"
        with locked(checkouts, digest):
            if not folder.exists():  # another gc was quicker
                continue
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
    for staged in filter(is_staged, folder.glob("*")):
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
