"""Publishing: a folder and a draft become a release, then a version.

Order, so that a kill at any point leaves nothing half-listed:

    hash files → lease their blobs → put what is missing → put the record → index row and alias

Publishing the same release again gives the same version. What a killed publish put is unreferenced
and is collected when its lease has expired.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from adapterworks.manifests.digests import digest_file
from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.blobs.store import BlobStore
from adapterworks.registry.index import lookup, versions
from adapterworks.registry.index.database import Database
from adapterworks.registry.lifecycle import aliases, leases
from adapterworks.registry.releases.paths import check_path
from adapterworks.registry.releases.release import Draft, FileEntry, Release
from adapterworks.registry.releases.types import Published

Sources = dict[str, Path | bytes]


def publish(
    database: Database,
    blobs: BlobStore,
    folder: Path,
    draft: Draft,
    *,
    alias: str | None,
    who: str,
    why: str,
) -> Published:
    """See `Registry.publish`."""
    files = scan(folder)
    release = Release.from_draft(draft, files)
    sources: Sources = {entry.digest: folder / path for path, entry in files.items()}
    sources[release.digest] = release.to_bytes()  # last: a stored record names stored blobs
    while True:
        with database.write() as connection:
            lease = leases.take(connection, "publish", sources)
        try:
            published = None
            if _put_missing(database, blobs, sources, lease):
                published = _list(database, release, lease, alias=alias, who=who, why=why)
        except BaseException:
            with database.write() as connection:
                leases.end(connection, lease)
            raise
        if published is not None:
            return published


def scan(folder: Path) -> dict[str, FileEntry]:
    """Every file of a folder by POSIX path, hashed.

    Raises:
        InvalidInput: the folder has a symlink, a special file, an odd name, or no file at all.
    """
    files: dict[str, FileEntry] = {}
    for root, folders, names in os.walk(folder):
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
            files[relative] = FileEntry(digest=digest_file(path), size=path.stat().st_size)
    if not files:
        raise InvalidInput(f"`{folder}` has no files to publish")
    return dict(sorted(files.items()))


def _put_missing(database: Database, blobs: BlobStore, sources: Sources, lease: str) -> bool:
    """Put what is not there yet; false when the lease was lost meanwhile (gc may have run)."""
    renewed = time.monotonic()
    for digest, source in sources.items():
        if time.monotonic() - renewed > leases.LEASE_S / 4:
            renewed = time.monotonic()
            with database.write() as connection:
                if not leases.renew(connection, lease):
                    return False
        blobs.put(digest, source)
    return True


def _list(
    database: Database, release: Release, lease: str, *, alias: str | None, who: str, why: str
) -> Published | None:
    """The last step, one transaction: row, alias, end of lease; `None` if the lease was lost."""
    with database.write() as connection:
        if not leases.end(connection, lease):
            return None
        existing = lookup.find_live(connection, release.digest)
        if existing is None:
            (version,) = versions.insert_versions(
                connection, release.name, [release], who=who, why=why
            )
        else:
            version = existing.version
        if alias is not None and not aliases.is_held(connection, release.name, alias, version):
            aliases.promote(connection, release.name, version, alias, who=who, why=why)
        return Published(release.name, version, release.digest, created=existing is None)
