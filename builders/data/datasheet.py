"""The datasheet: what was read, under which licence, and the digests that prove it later.

Invariant: two loads with equal datasheets gave equal rows in equal order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Datasheet:
    """One source as it was read; goes into the plan, `adapter.lock` and the model card.

    Attributes:
        source: as the manifest names it, e.g. `icd-10-cm:train`.
        origin: what it came from: `package==version`, a file name, or the `hub:…` source.
        license: SPDX id or the licence's name; `unknown` for the user's own files.
        files: file name → `sha256:…` of the bytes that were read.
        digest: `sha256:…` of the derived rows in order.
        rows: number of derived rows.
        counts: what the derivation saw and left out, by name.
        description: one sentence on task and derivation.
    """

    source: str
    origin: str
    license: str
    files: Mapping[str, str]
    digest: str
    rows: int
    counts: Mapping[str, int] = field(default_factory=dict)
    description: str = ""

    def to_json(self) -> dict[str, Any]:
        """The datasheet as JSON values."""
        return asdict(self)
