"""On how many rows the candidate is better than a reference, whatever by: a win rate.

Of a verifier's score or a judge's verdict alike. A gain can come from a few rows that gained much;
this asks whether more rows gained than lost.
"""

from __future__ import annotations

from adapterworks.builders.evaluation.comparison import Comparison
from adapterworks.builders.evaluation.gates.gate import ROUNDING, GateKind, GateOutcome
from adapterworks.builders.evaluation.metrics.metric import Metric
from adapterworks.manifests.evaluate_tables import QualityGate


def judge(gate: QualityGate, comparison: Comparison) -> GateOutcome:
    """Passes if there is no reference yet, or the lower bound of the win rate, less a half, is
    above `min_gain`."""
    if gate.against not in comparison.subjects:
        why = f"{gate.metric}: there is no `{gate.against}` to compare with yet"
        return GateOutcome("quality", gate.metric, True, why)
    rate = comparison.win_rate(gate.against)
    low = comparison.win_interval(gate.against, gate.confidence).low
    needed = 0.5 + gate.min_gain
    passed = low > needed + ROUNDING
    why = (
        f"{gate.metric}: better than {gate.against} on {rate:.1%} of the rows, a tie as half, at "
        f"{gate.confidence:.0%} at least {low:.1%}, which {'is' if passed else 'is not'} above "
        f"{needed:.1%}"
    )
    if passed and comparison.draws < 2:
        passed = False
        why += "; but a single row, or group of rows, shows nothing"
    return GateOutcome("quality", gate.metric, passed, why)


def hopeless(gate: QualityGate, metric: Metric, rows: int) -> str | None:
    """Nobody wins on more than all rows."""
    needed = 0.5 + gate.min_gain
    return f"no win rate is above {needed:.1%}" if needed >= 1 else None


GATE = GateKind(
    name="wins",
    description="The lower bound of the share of rows that are better than `against`'s, a tie as "
    "half, is above ½ + `min_gain`",
    judge=judge,
    hopeless=hopeless,
)
