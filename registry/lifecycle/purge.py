"""Purging a version: it is deleted, and the bytes that no other release has are erased at once.

    tombstone → each blob that is its alone: erased (`erase.py`) → its record's bytes, its reviews

For a withdrawn consent or a leak, where a week in the trash is too long. What was erased is refused
from then on, whoever publishes or pulls it. Invariant: bytes that another live release needs stay,
and are named; so is whoever else still has some: pushes, releases made from it, gateways and builds
that hold it now. Doing it again finishes what was interrupted. Of a release that is live again
under another number nothing goes. What only says how its weights are loaded is not erased, which
would be for good, and for the next release of the same settings too: it goes with the next gc.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.errors import Refused
from adapterworks.registry.blobs.store import Store
from adapterworks.registry.index import lookup, schema, versions
from adapterworks.registry.index.clock import now_s
from adapterworks.registry.index.database import Database
from adapterworks.registry.lifecycle import aliases
from adapterworks.registry.lifecycle import erase as erasing
from adapterworks.registry.lifecycle.reviewed import remove_reviews
from adapterworks.registry.reading.checkout import locked, remove_tree
from adapterworks.registry.releases.roles import is_beside_weights

_versions, _blobs = schema.versions, schema.release_blobs
_leases, _lease_blobs = schema.leases, schema.lease_blobs


@dataclass(frozen=True, slots=True)
class Purge:
    """What a purge concerns, and what it removed.

    Attributes:
        ref: `name@version`.
        digest: of the release.
        size: bytes that are this release's alone and go.
        alone: their blobs.
        shared: `name@version: path` of what other live releases need too, which stays.
        pushed: where it was pushed, with commits: those bytes stay there.
        children: live releases made from it, whose weights may hold what it learnt.
        held: who has it now: gateways and builds, as they call themselves.
        copies: local files that were removed beside the blobs.
        reviews: people's reviews of its answers that were removed.
    """

    ref: str
    digest: str
    size: int
    alone: tuple[str, ...]
    shared: tuple[str, ...]
    pushed: tuple[str, ...]
    children: tuple[str, ...]
    held: tuple[str, ...]
    copies: tuple[Path, ...] = ()
    reviews: tuple[str, ...] = ()


def delete(
    connection: Connection, name: str, version: int, *, with_aliases: bool, who: str, why: str
) -> None:
    """Turn a version into a tombstone; see `Registry.delete`."""
    if with_aliases:
        lookup.resolve(connection, lookup.exact(name, version))
        aliases.let_go(connection, name, version, who=who, why=why)
    versions.delete_version(connection, name, version, who=who, why=why)


def look(connection: Connection, name: str, version: int) -> Purge:
    """What purging a version, or what is left of one, would concern.

    Raises:
        NotFound: the number was never given out.
    """
    row = lookup.get_version(connection, name, version)
    files = connection.execute(
        sa.select(_blobs).where(_blobs.c.release == row.digest, _blobs.c.size > 0)
    ).all()
    shared = _shared(connection, name, version, [file.blob for file in files])
    kept = {*shared, *(file.blob for file in files if is_beside_weights(file.path))}
    alone = {
        file.blob: file.size
        for file in files
        if file.blob not in kept and file.path != versions.RECORD_PATH
    }
    pushed = {push.place for push in erasing.pushes(connection, name, version)}
    children = lookup.releases_from(connection, "parent", row.digest)
    holders = (
        sa.select(_leases.c.kind, _leases.c.holder)
        .join(_lease_blobs, _lease_blobs.c.lease == _leases.c.id)
        .where(_lease_blobs.c.blob == row.digest, _leases.c.expires >= now_s(connection))
        .distinct()
    )
    held = [f"{lease.kind} by {lease.holder}" for lease in connection.execute(holders)]
    return Purge(
        ref=f"{name}@{version}",
        digest=row.digest,
        size=sum(alone.values()),
        alone=tuple(alone),
        shared=tuple(sorted(set(shared.values()))),
        pushed=tuple(sorted(pushed)),
        children=tuple(map(str, children)),
        held=tuple(sorted(held)),
    )


def _shared(
    connection: Connection, name: str, version: int, blobs: Sequence[str]
) -> dict[str, str]:
    """Those of the blobs that another live version has, with which and where.

    The very release may be live again under another number, which is another version then.
    """
    itself = (_versions.c.name == name) & (_versions.c.version == version)
    others = (
        sa.select(_versions.c.name, _versions.c.version, _blobs.c.path, _blobs.c.blob)
        .join(_versions, _versions.c.digest == _blobs.c.release)
        .where(_versions.c.deleted.is_(None), ~itself, _blobs.c.blob.in_(blobs))
        .order_by(_versions.c.name, _versions.c.version, _blobs.c.path)
    )
    return {
        other.blob: f"{other.name}@{other.version}: {other.path or 'its record'}"
        for other in connection.execute(others)
    }


def erase_rest(
    database: Database, blobs: Store, home: Path, name: str, version: int, *, who: str, why: str
) -> Purge:
    """Erase what is a deleted version's alone, wherever this registry can reach it.

    Raises:
        Refused: the version is live, or its release is live again under another number: every byte
            of it is needed then, and nothing was erased.
    """
    with database.read() as connection:
        found = look(connection, name, version)
        if lookup.get_version(connection, name, version).deleted is None:
            raise Refused(f"`{found.ref}` is live", hint=f"adapters delete {found.ref} --purge")
        again = lookup.find_live(connection, found.digest)
    if again is not None:
        raise Refused(
            f"`{again}` is the very release that was deleted as `{found.ref}`: nothing was erased",
            hint=f"if that is to go too: adapters delete {again} --purge",
        )
    copies: list[Path] = []
    reviews: tuple[str, ...] = ()
    checkouts = home / "checkouts"
    checkout = checkouts / found.digest.removeprefix("sha256:")
    with locked(checkouts, found.digest):
        if checkout.exists():
            copies.append(checkout)
            remove_tree(checkout, checkouts)
    for blob in found.alone:
        done = erasing.erase(database, blobs, home, blob, who=who, why=why, spare_live=True)
        copies += done.copies
        reviews = (*reviews, *done.reviews)
    reviews = (*reviews, *remove_reviews(home, [found.digest]))
    with database.read() as connection:
        needed = _shared(connection, name, version, [found.digest])
    if not needed:
        with contextlib.suppress(FileNotFoundError):
            blobs.delete(found.digest)  # the record; the index keeps number, digest and reason
    return replace(found, copies=tuple(copies), reviews=tuple(sorted({*reviews})))
