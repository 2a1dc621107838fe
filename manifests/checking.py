"""What a check of a manifest is: the keys it reads, and a function that finds problems.

Invariant: a check is left out when one of its keys is faulty already, so that one mistake is
reported once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from adapterworks.manifests.models import Manifest

KeyPath = tuple[str | int, ...]


class Problem(NamedTuple):
    """What a check found; `key` is where the user would mend it."""

    key: KeyPath
    message: str
    hint: str


# (validated values, the merged tables as written: to tell a given value from a default)
Find = Callable[[Manifest, dict[str, Any]], Iterator[Problem]]


@dataclass(frozen=True, slots=True)
class Check:
    """One check."""

    reads: tuple[KeyPath, ...]
    find: Find


def check(*keys: str) -> Callable[[Find], Check]:
    """Makes a function a check that reads these keys."""

    def make(find: Find) -> Check:
        return Check(tuple(tuple(key.split(".")) for key in keys), find)

    return make


def is_written(written: dict[str, Any], table: str, key: str) -> bool:
    """Whether the manifest itself gives a key."""
    return key in written.get(table, {})
