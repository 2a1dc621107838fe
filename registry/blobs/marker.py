"""Whose a blob store is: `adapterworks.json` at its root, written once.

    {"schema_version":1,"store":"8c6f…"}

The index carries the same id (`lifecycle/identity.py`). Copy the file with the blobs.
"""

from __future__ import annotations

import json
import re

from adapterworks.manifests.digests import canonical_json
from adapterworks.manifests.errors import IntegrityError

MARKER = "adapterworks.json"
_ID = re.compile(r"[0-9a-f]{32}")


def write_marker(identity: str) -> bytes:
    """The marker's bytes."""
    return canonical_json({"schema_version": 1, "store": identity})


def read_marker(data: bytes, where: str) -> str:
    """The id in a marker.

    Raises:
        IntegrityError: it says none.
    """
    try:
        table = json.loads(data)
    except (ValueError, RecursionError):
        table = None
    identity = table.get("store") if isinstance(table, dict) else None
    if not isinstance(identity, str) or not _ID.fullmatch(identity):
        raise IntegrityError(
            f"`{where}` does not say whose store it is",
            hint="restore the file from a copy of the store",
        )
    return identity
