"""The bytes of parts of datasets go for good: noted first, then deleted, copies here too."""

from __future__ import annotations

from collections.abc import Sequence

from adapterworks.registry.index import absences, log
from adapterworks.registry.registry import Registry


def erase_blobs(registry: Registry, blobs: Sequence[str], *, who: str, why: str) -> None:
    """Erase blobs of datasets; nothing puts them back.

    A kill in between leaves bytes that the next gc removes, never bytes that are gone without a
    reason.
    """
    with registry.database.write() as connection:
        for blob in blobs:
            if absences.erase(connection, blob, who=who, why=why):
                # Of no release's name: a dataset's rows are the registry's own.
                log.append(connection, "", "erase", who=who, why=why, blob=blob, paths=[])
    for blob in blobs:
        registry.blobs.delete(blob)
