"""Comparing two releases: what was declared, what it was made from, what came out.

Everything is compared as flat `key.path → value`, so that a change reads like the manifest line or
lock entry it comes from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from adapterworks.manifests.errors import IntegrityError
from adapterworks.registry.releases.absence import AbsentFile
from adapterworks.registry.releases.release import Release
from adapterworks.registry.releases.types import Resolved

LOCK = "adapter.lock"
Read = Callable[[str, str], bytes]  # (release digest, path) → verified bytes


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


def diff(read: Read, before: tuple[Resolved, Release], after: tuple[Resolved, Release]) -> Diff:
    """The differences between two releases; `read` is `Registry.read`."""
    locks = [read_lock(read, *side) for side in (before, after)]
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


def read_lock(read: Read, resolved: Resolved, release: Release) -> dict[str, Any]:
    """The release's `adapter.lock`, or nothing when it has none or its bytes are not here.

    Raises:
        IntegrityError: it is damaged, or no lock at all (a stranger's).
    """
    if LOCK not in release.files:
        return {}
    try:
        lock = json.loads(read(resolved.digest, LOCK))
    except AbsentFile:
        return {}
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"`{LOCK}` of `{resolved}` is not JSON") from error
    if not isinstance(lock, dict):
        raise IntegrityError(f"`{LOCK}` of `{resolved}` is not a table")
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
