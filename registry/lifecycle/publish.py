"""Publishing: a folder and a draft become a release, then a version.

Order, so that a kill at any point leaves nothing half-listed:

    hash files → lease their blobs → (wait for a gc that is moving one of them) → put what is
    missing → put the record → index row and alias

Publishing the same release again gives the same version. What a killed publish put is unreferenced
and is collected when its lease has expired. A release that was made elsewhere is adopted: it keeps
its record, and may come without the bytes that were withheld from us. Bytes that were erased here
are not put again, whoever brings them.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import Connection

from adapterworks.manifests.digests import digest_file
from adapterworks.manifests.errors import Conflict, IntegrityError, InvalidInput, Refused
from adapterworks.registry.blobs.store import BlobStore
from adapterworks.registry.index import absences, lookup, stores, versions
from adapterworks.registry.index.database import Database
from adapterworks.registry.lifecycle import aliases, holding, leases
from adapterworks.registry.releases.absence import Absence
from adapterworks.registry.releases.paths import check_path
from adapterworks.registry.releases.release import UNNAMED, Draft, FileEntry, Release
from adapterworks.registry.releases.roles import check_withheld, may_be_erased
from adapterworks.registry.releases.types import Published

# Digest → its bytes; None: they are in the store already.
Sources = Mapping[str, Path | bytes | None]
Guard = Callable[[Connection], object]


@dataclass(frozen=True, slots=True)
class Act:
    """Who publishes and why, and what is to happen with it.

    Attributes:
        alias: moved in the transaction that lists the version.
        built: whether the release was made here.
        since: a sequence of the log. A move of the alias after it was somebody's decision, which
            holds; one that another publish made was not.
        guard: asked in that transaction first; what it raises keeps the version from being listed.
    """

    who: str
    why: str
    alias: str | None = None
    built: bool = True
    since: int | None = None
    guard: Guard | None = None


def publish(
    database: Database, blobs: BlobStore, folder: Path, draft: Draft, *, author: str, act: Act
) -> Published:
    """See `Registry.publish`."""
    files = scan(folder)
    if not draft.created_by:
        draft = draft.model_copy(update={"created_by": author or UNNAMED})
    release = Release.from_draft(draft, files)
    check_withheld(release.withheld, "`withhold`")
    sources = {entry.digest: folder / path for path, entry in files.items()}
    return _publish(database, blobs, release, sources, {}, act)


def adopt(
    database: Database,
    blobs: BlobStore,
    folder: Path,
    release: Release,
    withheld: Mapping[str, str],
    act: Act,
) -> Published:
    """See `Registry.adopt`."""
    check_withheld(withheld, "what was withheld")
    for path in release.files:
        check_path(path)
    unknown = sorted(withheld.keys() - release.files.keys())
    if unknown:
        raise IntegrityError(f"`{release.name}` has no file `{unknown[0]}` that could be withheld")
    found = scan(folder)
    expected = {path: entry for path, entry in release.files.items() if path not in withheld}
    for path in sorted(expected.keys() | found.keys()):
        if path not in found:
            raise IntegrityError(f"`{path}` of `{release.name}` is not there")
        entry = expected.get(path)
        if entry is None or (entry.digest, entry.size) != (found[path].digest, found[path].size):
            raise IntegrityError(f"`{path}` is not what the record of `{release.name}` says")
    sources = {entry.digest: folder / path for path, entry in expected.items()}
    return _publish(database, blobs, release, sources, withheld, act)


def list_stored(database: Database, blobs: BlobStore, release: Release, *, act: Act) -> Published:
    """See `Registry.publish_stored`."""
    check_withheld(release.withheld, "`withhold`")
    for path in release.files:
        check_path(path)
    sources: dict[str, None] = {entry.digest: None for entry in release.files.values()}
    return _publish(database, blobs, release, sources, {}, act)


def scan(folder: Path) -> dict[str, FileEntry]:
    """Every file of a folder by POSIX path, hashed.

    Raises:
        InvalidInput: the folder has a symlink, a special file, an odd name, or no file at all.
    """
    files: dict[str, FileEntry] = {}
    for root, folders, names in os.walk(folder, onerror=_unreadable):
        for name in [*folders, *names]:
            path = Path(root, name)
            relative = path.relative_to(folder).as_posix()
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                continue
            if not stat.S_ISREG(mode):
                raise InvalidInput(
                    f"`{relative}` is not a regular file", hint="publish plain files only"
                )
            check_path(relative)
            files[relative] = FileEntry.at(
                relative, digest=digest_file(path), size=path.stat().st_size
            )
    if not files:
        raise InvalidInput(f"`{folder}` has no files to publish")
    return dict(sorted(files.items()))


def _unreadable(error: OSError) -> None:
    """A folder that may not be listed is not an empty one."""
    raise InvalidInput(
        f"`{error.filename}` cannot be read: {error.strerror}",
        hint="let this user read it, or leave it out of the folder",
    ) from error


def _publish(
    database: Database,
    blobs: BlobStore,
    release: Release,
    sources: Sources,
    withheld: Mapping[str, str],
    act: Act,
) -> Published:
    """Put `sources` and list the release; `withheld` says why a path's bytes are not among them."""
    sources = {**sources, release.digest: release.to_bytes()}  # last: it names stored blobs
    while True:
        with database.write() as connection:
            gone = absences.erased(connection, sources)
            _refuse_erased(release, gone)
            lease = leases.take(connection, "publish", sources)
            stores.begin(connection, release.digest)
        wanted = {digest: source for digest, source in sources.items() if digest not in gone}
        try:
            published = None
            holding.wait_for_gc(database, sources)
            if _put_missing(database, blobs, wanted, lease):
                # Whether we have such bytes or not: a stranger's record may name the digest of any
                # file of ours, and what he did not send does not become his.
                absent = {release.files[path].digest: why for path, why in withheld.items()}
                published = _list(database, release, wanted, lease, absent, act)
        except BaseException:
            with database.write() as connection:
                leases.end(connection, lease)
            _delete_erased(database, blobs, sources)
            raise
        if published is not None:
            _delete_erased(database, blobs, sources)
            return published


def _delete_erased(database: Database, blobs: BlobStore, put: Sources) -> None:
    """An erasure has the last word, whether it came before us and somebody sent the bytes all the
    same, or while we were putting."""
    with database.read() as connection:
        for digest in absences.erased(connection, put):
            blobs.delete(digest)


def _refuse_erased(release: Release, gone: Mapping[str, Absence]) -> None:
    if release.digest in gone:
        raise Refused(
            f"the bytes of this record of `{release.name}` were {gone[release.digest]}",
            hint="what was erased does not come back; a rebuilt release has another record",
        )
    for path, entry in release.files.items():
        if entry.digest in gone and not may_be_erased(path):
            raise Refused(
                f"the bytes of `{path}` were {gone[entry.digest]}",
                hint="a release cannot be without them; what was erased does not come back",
            )


def _put_missing(database: Database, blobs: BlobStore, sources: Sources, lease: str) -> bool:
    """Put what is not there yet; false when the lease was lost meanwhile (gc may have run)."""
    renewed = time.monotonic()
    for digest, source in sources.items():
        if time.monotonic() - renewed > leases.LEASE_S / 4:
            renewed = time.monotonic()
            with database.write() as connection:
                if not leases.renew(connection, lease):
                    return False
        if source is not None:
            blobs.put(digest, source)
        elif not blobs.exists(digest):
            raise Conflict(
                f"the bytes {digest} are not in the store", hint="send them again, then publish"
            )
    return True


def _list(
    database: Database,
    release: Release,
    wanted: Sources,
    lease: str,
    absent: Mapping[str, str],
    act: Act,
) -> Published | None:
    """The last step, one transaction: row, alias, end of lease; `None` if the lease was lost.

    Raises:
        Refused: what the release cannot be without was erased while it was put.
    """
    who, why = act.who, act.why
    with database.write() as connection:
        if act.guard is not None:
            act.guard(connection)
        if not leases.end(connection, lease):
            return None
        _refuse_erased(release, absences.erased(connection, wanted))
        stores.forget_begun(connection, [release.digest])
        existing = lookup.find_live(connection, release.digest)
        if existing is None:
            (version,) = versions.insert_versions(
                connection, release.name, [release], who=who, why=why, built=act.built
            )
            for blob, reason in absent.items():
                absences.withhold(connection, release.digest, blob, who=who, why=reason)
        else:
            version = existing.version
        alias, kept = act.alias, ""
        if alias is not None and not aliases.is_held(connection, release.name, alias, version):
            try:
                aliases.promote(
                    connection, release.name, version, alias, who=who, why=why, since=act.since
                )
            except Conflict as error:  # nothing was written for it
                kept = error.message
        return Published(release.name, version, release.digest, existing is None, kept)
