"""Releases in the forms of other engines, each proved in the engine that it is for.

One file a form; `run.py` is an export, `proof.py` what is compared, `readers/` the engines.
"""

from __future__ import annotations

from adapterworks.builders.exports.export import Export
from adapterworks.manifests.extensions import Table

EXPORTS: Table[Export] = Table("exports", Export)  # type: ignore[type-abstract]
