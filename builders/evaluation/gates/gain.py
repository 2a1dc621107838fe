"""The gain over a reference: its interval's lower bound must be above `min_gain`."""

from __future__ import annotations

from adapterworks.builders.evaluation.comparison import Comparison
from adapterworks.builders.evaluation.gates.gate import ROUNDING, GateKind, GateOutcome, shown
from adapterworks.builders.evaluation.metrics.metric import Metric
from adapterworks.manifests.evaluate_tables import QualityGate


def judge(gate: QualityGate, comparison: Comparison) -> GateOutcome:
    """Passes if there is no reference yet, or the gain's lower bound is above `min_gain` and, where
    answers are right or wrong, the exact test finds a gain too."""
    if gate.against not in comparison.subjects:
        why = f"{gate.metric}: there is no `{gate.against}` to compare with yet"
        return GateOutcome("quality", gate.metric, True, why)
    unit, gain = comparison.metric.unit, comparison.gain(gate.against)
    low = comparison.gain_interval(gate.against, gate.confidence).low
    anything = gate.min_gain <= -1 and comparison.of_shares  # none can lose more than all
    passed = anything or low > gate.min_gain + ROUNDING
    relation = "is above" if passed else "is not above"
    why = (
        f"{gate.metric}: gain over {gate.against} {shown(gain, unit)}, at {gate.confidence:.0%} "
        f"at least {shown(low, unit)}, which {relation} {shown(gate.min_gain, unit)}"
    )
    if passed and not anything and comparison.draws < 2:
        passed = False
        why += "; but a single row, or group of rows, shows nothing"
    p_value, test = comparison.p_value(gate.against)
    if passed and test == "mcnemar" and gate.min_gain >= 0 and p_value > 1 - gate.confidence:
        passed = False
        why += f"; but McNemar's exact test gives p = {p_value:.2g}: too few rows changed"
    return GateOutcome("quality", gate.metric, passed, why)


def hopeless(gate: QualityGate, metric: Metric, rows: int) -> str | None:
    """A share gains one at most, and the gain has to be more than `min_gain`."""
    impossible = metric.of_shares and gate.min_gain >= 1
    return f"no gain of it is above {shown(gate.min_gain, metric.unit)}" if impossible else None


GATE = GateKind(
    name="gain",
    description="The lower bound of the gain over `against` is above `min_gain`",
    judge=judge,
    hopeless=hopeless,
)
