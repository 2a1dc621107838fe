"""What a rebuild must have in common with its release, by their locks: base and rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapterworks.manifests.errors import IntegrityError
from adapterworks.registry.reading.diff import changes


def require_same_base(title: str, lock: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Refuse another base than the lock's.

    Raises:
        IntegrityError: it is one.
    """
    before, after = lock["base"]["digest"], here["base"]["digest"]
    if before != after:
        raise IntegrityError(
            f"`{title}` was built on base {before}, but `{lock['base']['model']}` here is {after}",
            hint="fetch the base at the revision that `adapters show` prints",
        )


def require_same_rows(title: str, lock: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Refuse other rows than the lock's.

    Raises:
        IntegrityError: they are others; its hint names the files that differ.
    """
    before, after = lock["data"]["splits"], here["data"]["splits"]
    changed = [name for name in before if before[name] != after.get(name)]
    if not changed:
        return
    files = changes(*(_files(entries["data"]["sources"]) for entries in (lock, here)))
    raise IntegrityError(
        f"the {' and '.join(changed)} rows are not those that `{title}` was built from",
        hint="; ".join(
            f"`{c.key}` was {c.before or 'absent'}, is {c.after or 'absent'}" for c in files
        )
        or "every file has the bytes it had: the code that makes rows of them has changed "
        f"(adapterworks {lock['code']['version']} built it)",
    )


def _files(sources: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {name: digest for source in sources for name, digest in source["files"].items()}
