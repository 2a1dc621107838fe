"""Lineage: what a release was made from, as records and locks say, as far back as they are here.

Invariant: a parent is never left out in silence. One that is not in this registry (a pulled release
was trained from something elsewhere) is named by what its child's record says of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from adapterworks.registry.index.database import AnyRow
from adapterworks.registry.releases.release import (
    BaseIdentity,
    Parent,
    Provenance,
    Release,
    Stage,
)
from adapterworks.registry.releases.types import Resolved


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A release that one was made from, nearest first.

    Attributes:
        ref: `name@version` here; what the child's record says of one that is not here.
        digest: of the release; empty only where an old record names no digest and it is not here.
        deleted: only its tombstone is left.
        relation: how its child came from it (`start`, `stage`, `merge`, `rebase`, …).
        child: the ref of the release that names it as a parent.
        weight: its share, in a merge.
        here: whether this registry knows it.
    """

    ref: str
    digest: str
    deleted: bool
    relation: str
    child: str
    weight: float | None
    here: bool


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a release came from. `data`, `code` and `packages` are the lock's own tables."""

    release: Resolved
    created: str
    created_by: str
    source: str | None
    plan: str | None
    digests: dict[str, str]
    stage: Stage | None
    provenance: Provenance
    base: BaseIdentity
    data: dict[str, Any]
    code: dict[str, Any]
    packages: dict[str, str]
    seed: int | None
    parents: tuple[Ancestor, ...]


_MOST = 1e300
# A release's own parents, and the version that a digest or `name@n` means here.
ParentsOf = Callable[[str], tuple[Parent, ...]]
Find = Callable[[str], AnyRow | None]


def parents_of(release: Release, lock: dict[str, Any]) -> tuple[Parent, ...]:
    """What a release was made from: its record's parents; old merges have them in their lock."""
    merged = lock.get("parents")
    if release.parents or not isinstance(merged, list):
        return release.parents
    return tuple(
        _merged(entry)
        for entry in merged
        if isinstance(entry, dict) and isinstance(entry.get("digest"), str)
    )


def _merged(entry: dict[str, Any]) -> Parent:
    """A parent as a lock has it, which may be a stranger's."""
    ref, weight = entry.get("ref"), entry.get("weight")
    share = isinstance(weight, int | float) and -_MOST < weight < _MOST
    return Parent(
        relation="merge",
        digest=entry["digest"],
        ref=ref if isinstance(ref, str) else None,
        weight=weight if share else None,
    )


def ancestors(of: Resolved, parents: ParentsOf, find: Find) -> tuple[Ancestor, ...]:
    """All a release was made from, nearest first, each once."""
    found: list[Ancestor] = []
    seen = {of.digest}
    waiting = deque((str(of), parent) for parent in parents(of.digest))
    while waiting:
        child, parent = waiting.popleft()
        row = find(parent.name)
        digest = (parent.digest or "") if row is None else row.digest
        if (digest or parent.name) in seen:
            continue
        seen.add(digest or parent.name)
        ref = (parent.ref or digest) if row is None else f"{row.name}@{row.version}"
        found.append(
            Ancestor(
                ref=ref,
                digest=digest,
                deleted=row is not None and row.deleted is not None,
                relation=parent.relation,
                child=child,
                weight=parent.weight,
                here=row is not None,
            )
        )
        if row is not None:
            waiting.extend((ref, further) for further in parents(row.digest))
    return tuple(found)


def lineage(
    resolved: Resolved, release: Release, lock: dict[str, Any], parents: tuple[Ancestor, ...]
) -> Lineage:
    """The lineage of one release, from its record and its `adapter.lock`."""
    provenance, seed = release.provenance, lock.get("seed")
    return Lineage(
        release=resolved,
        created=release.created,
        created_by=release.created_by,
        source=provenance.source,
        plan=release.plan,
        digests=release.digests,
        stage=release.stage,
        provenance=provenance,
        base=release.base,
        data=_table(lock, "data") or ({"splits": provenance.data} if provenance.data else {}),
        code=_table(lock, "code"),
        packages={name: str(of) for name, of in _table(lock, "packages").items()},
        seed=seed if isinstance(seed, int) else provenance.seed,
        parents=parents,
    )


def _table(lock: dict[str, Any], key: str) -> dict[str, Any]:
    found = lock.get(key)
    return found if isinstance(found, dict) else {}
