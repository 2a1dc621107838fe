"""The manifest's gates: does a release deserve its alias? Each outcome says why in one line.

All gates must pass. That is an intersection–union test, so each gate keeps its own confidence:
asking for more gates makes passing harder, never luckier, and needs no correction. One file a kind
of `[[evaluate.gates]]`; the budget against forgetting (`retention.py`) has a table of its own in
the manifest.
"""

from __future__ import annotations

from adapterworks.builders.evaluation.gates.gate import GateKind
from adapterworks.manifests.extensions import Table

QUALITY_GATES: Table[GateKind] = Table("quality_gates", GateKind)
