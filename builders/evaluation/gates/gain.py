"""The gain over a reference: its interval's lower bound must reach `min_gain`."""

from __future__ import annotations

from adapterworks.builders.evaluation.comparison import Comparison
from adapterworks.builders.evaluation.gates.gate import ROUNDING, GateKind, GateOutcome, shown
from adapterworks.manifests.models import QualityGate


def judge(gate: QualityGate, comparison: Comparison) -> GateOutcome:
    """Passes if there is no reference yet, or the gain's lower bound reaches `min_gain`."""
    if gate.against not in comparison.subjects:
        why = f"{gate.metric}: there is no `{gate.against}` to compare with yet"
        return GateOutcome("quality", gate.metric, True, why)
    unit, gain = comparison.metric.unit, comparison.gain(gate.against)
    low = comparison.gain_interval(gate.against, gate.confidence).low
    passed = low >= gate.min_gain - ROUNDING
    relation = "reaches" if passed else "is below"
    why = (
        f"{gate.metric}: gain over {gate.against} {shown(gain, unit)}, at {gate.confidence:.0%} "
        f"at least {shown(low, unit)}, which {relation} {shown(gate.min_gain, unit)}"
    )
    return GateOutcome("quality", gate.metric, passed, why)


GATE = GateKind(
    name="gain",
    description="The lower bound of the gain over `against` reaches `min_gain`",
    judge=judge,
)
