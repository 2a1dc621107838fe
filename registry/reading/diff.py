"""Comparing two releases: what was declared, what it was made from, what came out.

Everything is compared as flat `key.path → value`, so that a change reads like the manifest line or
lock entry it comes from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapterworks.registry.blobs.store import BlobStore
from adapterworks.registry.reading.files import read_file
from adapterworks.registry.releases.release import Release
from adapterworks.registry.releases.types import Resolved

LOCK = "adapter.lock"


@dataclass(frozen=True, slots=True)
class Change:
    """One key that differs; `None` on the side that does not have it."""

    key: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Diff:
    """The differences of two releases by where they are; sizes in bytes."""

    before: Resolved
    after: Resolved
    release: tuple[Change, ...]
    manifest: tuple[Change, ...]
    data: tuple[Change, ...]
    lock: tuple[Change, ...]
    metrics: tuple[Change, ...]
    files: tuple[Change, ...]
    size: tuple[int, int]

    @property
    def same(self) -> bool:
        """Whether it is one release."""
        return self.before.digest == self.after.digest


def diff(
    blobs: BlobStore, before: tuple[Resolved, Release], after: tuple[Resolved, Release]
) -> Diff:
    """The differences between two releases."""
    locks = [read_lock(blobs, *side) for side in (before, after)]
    data = [flatten(lock.pop("data", {})) for lock in locks]
    a, b = before[1], after[1]
    return Diff(
        before=before[0],
        after=after[0],
        release=changes(_identity(a), _identity(b)),
        manifest=changes(flatten(a.manifest or {}), flatten(b.manifest or {})),
        data=changes(*data),
        lock=changes(flatten(locks[0]), flatten(locks[1])),
        metrics=changes(a.metrics, b.metrics),
        files=changes(_files(a), _files(b)),
        size=(a.size, b.size),
    )


def read_lock(blobs: BlobStore, resolved: Resolved, release: Release) -> dict[str, Any]:
    """The release's `adapter.lock`, or nothing when it has none."""
    if LOCK not in release.files:
        return {}
    lock: dict[str, Any] = json.loads(read_file(blobs, resolved.digest, release, LOCK))
    return lock


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested JSON as `a.b.0.c → leaf`; empty containers are leaves."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, list | tuple):
        items = list(enumerate(value))
    if not items:
        return {prefix: value} if prefix else {}
    flat: dict[str, Any] = {}
    for key, inner in items:
        flat |= flatten(inner, f"{prefix}.{key}" if prefix else str(key))
    return flat


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    """The keys whose values differ, in order."""
    keys = sorted(before.keys() | after.keys())
    return tuple(
        Change(key, before.get(key), after.get(key))
        for key in keys
        if before.get(key) != after.get(key)
    )


def _identity(release: Release) -> dict[str, Any]:
    shown = release.model_dump(mode="json", exclude={"files", "manifest", "metrics", "created"})
    return flatten(shown)


def _files(release: Release) -> dict[str, str]:
    return {path: entry.digest for path, entry in release.files.items()}
