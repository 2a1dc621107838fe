"""The bytes of parts of datasets go for good: noted first, then deleted, copies here too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from adapterworks.registry.datasets import erased
from adapterworks.registry.index import absences, log
from adapterworks.registry.registry import Registry


def erase_blobs(
    registry: Registry,
    parts: Mapping[str, Iterable[str]],
    *,
    rows: Iterable[str],
    who: str,
    why: str,
) -> None:
    """Erase splits of datasets because of some of their rows; nothing puts either back.

    A kill in between leaves bytes that the next gc removes, never bytes that are gone without a
    reason.

    Args:
        parts: the blobs, and of each the marks (`erased.mark_of`) of all its rows.
        rows: the marks of those that are not to come back; the others of the parts may.
    """
    with registry.database.write() as connection:
        erased.note(connection, rows, parts, who=who, why=why)
        for blob in parts:
            if absences.erase(connection, blob, who=who, why=why):
                # Of no release's name: a dataset's rows are the registry's own.
                log.append(connection, "", "erase", who=who, why=why, blob=blob, paths=[])
    for blob in parts:
        registry.blobs.delete(blob)
