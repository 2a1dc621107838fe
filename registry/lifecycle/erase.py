"""Erasing bytes: a file's content goes for good, its digest stays in the record.

    refuse what serving needs → note it (absences, log) → delete the blob → delete local copies, and
    the reviews that were drawn from it

Invariants:
- The note comes first: a kill after it leaves bytes that `verify` reports and that the next gc or
  the same command removes, never bytes that are gone without a reason.
- What was erased is not put again by a publish, a pull or a repair.
- Equal copies under this machine's home (checkouts, build folders, staged files; not base models)
  go too. Copies
  elsewhere (other machines, pushed repositories, backups, versioned buckets) cannot be reached from
  here; pushes are named, so that somebody can ask for them.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.digests import digest_file
from adapterworks.manifests.errors import InvalidInput, NotFound, Refused
from adapterworks.registry.blobs.local import LocalBlobs
from adapterworks.registry.blobs.store import BlobStore
from adapterworks.registry.index import absences, log, lookup, schema, versions
from adapterworks.registry.index.database import Database
from adapterworks.registry.lifecycle.reviewed import remove_reviews
from adapterworks.registry.releases.pushes import PUSH, Push, read_push
from adapterworks.registry.releases.roles import may_be_erased, role_of

_versions, _blobs = schema.versions, schema.release_blobs
_PUSHES = 1000


@dataclass(frozen=True, slots=True)
class Holder:
    """A version that has the bytes under a path; `deleted` when only its tombstone is left."""

    name: str
    version: int
    digest: str
    path: str
    deleted: bool

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Erasure:
    """What an erasure concerns, and what it removed.

    Attributes:
        blob: digest of the bytes.
        size: of the bytes.
        holders: every version that has them, by name and number.
        pushed: where those versions were pushed with these bytes, which stay there.
        copies: the local files that were removed beside the blob.
        reviews: of predictions, the people's reviews that had these answers and were removed.
        created: false when they had been erased before.
    """

    blob: str
    size: int
    holders: tuple[Holder, ...]
    pushed: tuple[str, ...]
    copies: tuple[Path, ...] = ()
    created: bool = False
    reviews: tuple[str, ...] = ()


def look(connection: Connection, blob: str) -> Erasure:
    """Who has the bytes.

    Raises:
        NotFound: no release has or had them.
    """
    rows = connection.execute(
        sa.select(
            _versions.c.name,
            _versions.c.version,
            _versions.c.digest,
            _versions.c.deleted,
            _blobs.c.path,
            _blobs.c.size,
        )
        .join(_blobs, _blobs.c.release == _versions.c.digest)
        .where(_blobs.c.blob == blob, _blobs.c.path != versions.RECORD_PATH)
        .order_by(_versions.c.name, _versions.c.version, _blobs.c.path)
    ).all()
    if not rows:
        raise NotFound(
            f"no release has a file {blob}", hint="see a release's files: adapters show REF"
        )
    holders = tuple(
        Holder(row.name, row.version, row.digest, row.path, row.deleted is not None) for row in rows
    )
    return Erasure(blob, rows[0].size, holders, tuple(_pushed(connection, holders)))


def erase(
    database: Database,
    blobs: BlobStore,
    home: Path,
    blob: str,
    *,
    who: str,
    why: str,
    spare_live: bool = False,
) -> Erasure:
    """See `Registry.erase`.

    Args:
        spare_live: refuse if any live version has the bytes, even where it can do without them.
    """
    with database.write() as connection:
        found = look(connection, blob)
        if not found.size:
            raise InvalidInput("an empty file has no bytes that could be erased")
        record = lookup.find_live(connection, blob)
        if record is not None:  # a file somewhere holds a copy of it
            raise Refused(
                f"these bytes are the record of `{record.name}@{record.version}` too",
                hint="delete that release first: "
                f"adapters delete {record.name}@{record.version} --with-aliases",
            )
        for holder in found.holders:
            if holder.deleted:
                continue
            if spare_live:
                raise Refused(
                    f"`{holder.path}` of `{holder}`, which is live, has these bytes too",
                    hint="do it again: what live versions have then stays",
                )
            if not may_be_erased(holder.path):
                raise Refused(
                    f"`{holder.path}` of `{holder}` is needed to serve and prove it",
                    hint=f"delete the whole release: adapters delete {holder} --with-aliases",
                )
        created = absences.erase(connection, blob, who=who, why=why)
        if created:
            for name, version in sorted({(h.name, h.version) for h in found.holders}):
                paths = [h.path for h in found.holders if (h.name, h.version) == (name, version)]
                log.append(
                    connection, name, "erase", who=who, why=why, version=version, blob=blob,
                    paths=paths,
                )  # fmt: skip
            versions.bump(connection)
    blobs.delete(blob)
    own = blobs.root / "sha256" if isinstance(blobs, LocalBlobs) else None
    copies = delete_copies(home, blob, found.size, but=own)
    reviews = remove_reviews(home, releases_with_answers(found))
    return replace(found, copies=tuple(copies), created=created, reviews=reviews)


def releases_with_answers(found: Erasure) -> set[str]:
    """The digests of the releases whose predictions the bytes are, deleted ones too."""
    return {one.digest for one in found.holders if role_of(one.path) == "predictions"}


def delete_copies(home: Path, blob: str, size: int, *, but: Path | None = None) -> list[Path]:
    """Delete the plain files under a home that have these bytes; returns them.

    Args:
        but: a folder that is left alone: other blobs have other digests.
    """
    copies = []
    for copy in _copies(home, size, blob, but):
        with contextlib.suppress(FileNotFoundError):
            copy.unlink()
            copies.append(copy)
    return copies


def _copies(home: Path, size: int, digest: str, but: Path | None) -> Iterator[Path]:
    """Not those of base models: a release may have a file that is equal to a base's own."""
    left_alone = {home / "bases", but}
    for root, folders, names in os.walk(home):
        folders[:] = [folder for folder in folders if Path(root, folder) not in left_alone]
        for name in names:
            path = Path(root, name)
            with contextlib.suppress(OSError):  # others come and go
                status = path.lstat()
                plain = stat.S_ISREG(status.st_mode) and status.st_size == size
                if plain and digest_file(path) == digest:
                    yield path


def pushes(connection: Connection, name: str, version: int) -> list[Push]:
    """The pushes of a version, as far as the log says where they went."""
    events = log.events(connection, name, version=version, kinds=(PUSH,), limit=_PUSHES)
    return [push for event in events if (push := read_push(event)) is not None]


def _pushed(connection: Connection, holders: tuple[Holder, ...]) -> Iterator[str]:
    paths: dict[tuple[str, int], set[str]] = {}
    for holder in holders:
        paths.setdefault((holder.name, holder.version), set()).add(holder.path)
    for (name, version), held in sorted(paths.items()):
        for push in pushes(connection, name, version):
            if not held <= push.withheld:
                yield push.place
