"""Lineage: what a release was made from, as its own record and lock say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adapterworks.registry.releases.release import BaseIdentity, Release
from adapterworks.registry.releases.types import Resolved


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A parent version, nearest first; `deleted` when only its tombstone is left."""

    ref: str
    digest: str
    deleted: bool


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a release came from. `data`, `code` and `packages` are the lock's own tables."""

    release: Resolved
    created: str
    created_by: str
    source: str | None
    plan: str | None
    base: BaseIdentity
    data: dict[str, Any]
    code: dict[str, Any]
    packages: dict[str, str]
    seed: int | None
    parents: tuple[Ancestor, ...]


def parents_of(release: Release, lock: dict[str, Any]) -> tuple[str, ...]:
    """The digests or versions a release was made from: all of a merge's, else the record's one."""
    merged = lock.get("parents", [])
    return tuple(entry["digest"] for entry in merged) or (
        () if release.parent is None else (release.parent,)
    )


def lineage(
    resolved: Resolved, release: Release, lock: dict[str, Any], parents: tuple[Ancestor, ...]
) -> Lineage:
    """The lineage of one release, from its record and its `adapter.lock`."""
    return Lineage(
        release=resolved,
        created=release.created,
        created_by=release.created_by,
        source=release.source,
        plan=release.plan,
        base=release.base,
        data=lock.get("data", {}),
        code=lock.get("code", {}),
        packages=lock.get("packages", {}),
        seed=lock.get("seed"),
        parents=parents,
    )
