"""Gates and budgets of a manifest that an evaluation of a release does not judge, each with why.

A build asks whoever its gates compare with; a later evaluation asks the base, and one more subject
if it is named. Invariant: what was not measured is never taken for passed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from adapterworks.builders.evaluation.gates.gate import GateOutcome
from adapterworks.manifests.evaluate_tables import EvaluateTable, QualityGate
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.objective import NEAREST, START

PROD = "prod"
_HOW = {
    PROD: "name it: `--against NAME:prod`",
    START: "it is asked in a build alone",
    NEAREST: "ask for it: `--baseline nearest`",
}


def judged_gates(
    table: EvaluateTable, asked: Collection[str], *, no_prod: bool
) -> tuple[QualityGate, ...]:
    """Those whose reference is among the subjects.

    Args:
        asked: the subjects by name.
        no_prod: no release has the alias, so that there is nothing to compare with yet.
    """
    return tuple(gate for gate in table.gates if _is_judged(gate, asked, no_prod))


def unjudged(
    manifest: Manifest, table: EvaluateTable, asked: Collection[str], *, no_prod: bool
) -> list[GateOutcome]:
    """What the manifest asks for and this evaluation does not answer; none of it has passed.

    Args:
        manifest: whose gates and budgets they are.
        table: what is measured: its `[evaluate]`, maybe without what an endpoint cannot give.
        asked, no_prod: as of `judged_gates`.
    """
    return [
        GateOutcome(kind, name, False, f"{name}: not judged: {why}", judged=False)
        for kind, name, why in _found(manifest, table, asked, no_prod)
    ]


def _found(
    manifest: Manifest, table: EvaluateTable, asked: Collection[str], no_prod: bool
) -> Iterator[tuple[str, str, str]]:
    for gate in manifest.evaluate.gates:
        if gate not in table.gates:
            yield "quality", str(gate.metric), "an endpoint gives no more than answers"
        elif not _is_judged(gate, asked, no_prod):
            yield (
                "quality",
                str(gate.metric),
                f"`{gate.against}` was not asked ({_HOW[gate.against]})",
            )
    evaluate, begun = manifest.evaluate, manifest.start is not None
    if evaluate.retention.max_ancestor_loss is not None and begun:
        yield "retention", "ancestors", f"their rows are not asked again ({_HOW[START]})"
    safety = evaluate.safety
    budgets = (safety.max_refusal_loss, safety.max_over_refusal)
    if safety.on and begun and budgets != (None, None) and START not in asked:
        yield "safety", "refusals", f"`start` was not asked ({_HOW[START]})"


def _is_judged(gate: QualityGate, asked: Collection[str], no_prod: bool) -> bool:
    absolute = gate.limit is not None  # it compares with nobody
    return absolute or gate.against in asked or (gate.against == PROD and no_prod)
