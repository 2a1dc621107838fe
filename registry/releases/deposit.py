"""What a store says itself of bytes that no release names: rows of a dataset, a seal, a file.

    {"artifact":"deposit","blobs":["sha256:…"],"holder":"tickets","id":"5f2c…","kind":"dataset",
     "schema_version":1}

Whose such bytes are is in the index alone. A deposit is a small blob beside them that says that
they are somebody's, as a release's record does: an index that does not know one is older than the
store, and its gc takes nothing. A deposit is needed for as long as its bytes are held, and goes
with them.

Invariant: it has names of the registry's own (of a dataset, of a test set, a file's id), no text of
a tenant and no byte of what it is about.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass

from adapterworks.manifests.digests import DIGEST_PATTERN, canonical_json, digest_bytes

KINDS = ("dataset", "seal", "file")
_ARTIFACT = "deposit"


@dataclass(frozen=True)
class Deposit:
    """Bytes that are held for ever, or for as long as somebody wants them.

    Attributes:
        kind: of the lease that holds them: `dataset`, `seal` or `file`.
        holder: for whom, as the lease says.
        id: random, so that equal bytes of two holders are two deposits.
        blobs: the digests, sorted.
    """

    kind: str
    holder: str
    id: str
    blobs: tuple[str, ...]

    def to_bytes(self) -> bytes:
        """The deposit's bytes, in canonical JSON."""
        return canonical_json(
            {
                "artifact": _ARTIFACT,
                "blobs": list(self.blobs),
                "holder": self.holder,
                "id": self.id,
                "kind": self.kind,
                "schema_version": 1,
            }
        )

    @functools.cached_property
    def digest(self) -> str:
        """`sha256:…` of the deposit."""
        return digest_bytes(self.to_bytes())


def read_deposit(data: bytes) -> Deposit | None:
    """The deposit that bytes are; None if they are something else."""
    try:
        table = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(table, dict) or table.get("artifact") != _ARTIFACT:
        return None
    kind, holder, identity = (table.get(key) for key in ("kind", "holder", "id"))
    if not (isinstance(kind, str) and isinstance(holder, str) and isinstance(identity, str)):
        return None
    blobs = table.get("blobs")
    if not isinstance(blobs, list) or not all(
        isinstance(blob, str) and DIGEST_PATTERN.fullmatch(blob) for blob in blobs
    ):
        return None
    deposit = Deposit(kind, holder, identity, tuple(blobs))
    try:
        return deposit if deposit.to_bytes() == data else None
    except ValueError:  # a lone surrogate: no bytes of ours
        return None
