"""The index, made again from the store: every record there that is not listed becomes a version.

What the store has is the releases: names, records, files; and datasets with their rows, and seals,
which `datasets/relist.py` lists. What it has not is in a backup of the index only: version numbers
with their gaps, aliases, the log, tombstones, later tags, signatures, tenants and whose a file is.
So versions are numbered by when they were created, after those that are listed already, and no
alias points to them. As nobody knows any more which of them were built here, none spares a build.

Invariant: a record that another release has among its files is a copy until somebody says that it
is more (`take`): a stranger's release cannot bring a version of ours in this way.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from adapterworks.registry.blobs.store import Store
from adapterworks.registry.index import absences, lookup, stores, versions
from adapterworks.registry.index.database import Database
from adapterworks.registry.lifecycle import identity
from adapterworks.registry.reading.records import told_by
from adapterworks.registry.releases.deposit import Deposit
from adapterworks.registry.releases.release import Release
from adapterworks.registry.releases.roles import may_be_withheld
from adapterworks.registry.releases.types import Resolved

_WHY = "listed again from the store"
_BATCH = 500
_ABSENT = "it was not in the store when the index was rebuilt"


@dataclass(frozen=True, slots=True)
class Unlisted:
    """A release in the store that the index does not list.

    Attributes:
        absent: its files that are not in the store.
        state: `whole`; `incomplete`, if it lacks weights; `copy`, if a release has it as a file.
    """

    release: Release
    absent: tuple[str, ...]
    state: Literal["whole", "incomplete", "copy"]


def unlisted(database: Database, blobs: Store, *, take: Collection[str] = ()) -> list[Unlisted]:
    """The releases in the store that the index does not list, by name and time."""
    found, _, there = _records(blobs)
    files = {entry.digest for release in found.values() for entry in release.files.values()}
    result = []
    for digest, release in found.items():
        with database.read() as connection:
            if lookup.find_release(connection, digest) is not None:
                continue
        absent = tuple(path for path, entry in release.files.items() if entry.digest not in there)
        state: Literal["whole", "incomplete", "copy"] = "whole"
        if digest in files and digest not in take:
            state = "copy"
        elif not all(may_be_withheld(path) for path in absent):
            state = "incomplete"
        result.append(Unlisted(release, absent, state))
    return sorted(
        result, key=lambda item: (item.release.name, item.release.created, item.release.digest)
    )


def rebuild(
    database: Database, blobs: Store, *, take: Collection[str] = (), who: str
) -> list[Resolved]:
    """List every whole release of the store that is not listed; returns the versions.

    Raises:
        Refused: the store is another index's.
    """
    identity.join(database, blobs)
    listed = []
    for item in unlisted(database, blobs, take=take):
        release = item.release
        if item.state != "whole":
            continue
        with database.write() as connection:
            if lookup.find_release(connection, release.digest) is not None:
                continue
            (number,) = versions.insert_versions(
                connection, release.name, [release], who=who, why=_WHY, built=False
            )
            stores.forget_begun(connection, [release.digest])
            for path in item.absent:
                blob = release.files[path].digest
                absences.withhold(connection, release.digest, blob, who=who, why=_ABSENT)
        ref = lookup.exact(release.name, number)
        listed.append(Resolved(release.name, number, release.digest, ref))
    return listed


def unlisted_deposits(database: Database, blobs: Store) -> list[Deposit]:
    """What the store says that it has of rows, seals and files, and the index does not know."""
    releases, deposits, _ = _records(blobs)
    copies = {entry.digest for release in releases.values() for entry in release.files.values()}
    digests, known = sorted(deposits), set[str]()
    with database.read() as connection:
        for start in range(0, len(digests), _BATCH):
            known |= stores.known(connection, digests[start : start + _BATCH])
    return [deposits[digest] for digest in digests if digest not in known | copies]


def _records(blobs: Store) -> tuple[dict[str, Release], dict[str, Deposit], set[str]]:
    """The records in a store by digest, the deposits, and the digests of all that is there."""
    releases: dict[str, Release] = {}
    deposits: dict[str, Deposit] = {}
    there = set()
    for blob in blobs.list():
        there.add(blob.digest)
        found = told_by(blobs, blob)
        if isinstance(found, Release):
            releases[blob.digest] = found
        elif found is not None:
            deposits[blob.digest] = found
    return releases, deposits, there
