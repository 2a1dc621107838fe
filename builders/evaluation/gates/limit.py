"""The candidate's own value, whatever others have: its interval must be within `limit`.

For what must not happen often, however often it happened before: a base that always hallucinates is
improved on easily.
"""

from __future__ import annotations

import numpy as np

from adapterworks.builders.evaluation.comparison import CANDIDATE, Comparison
from adapterworks.builders.evaluation.gates.gate import ROUNDING, GateKind, GateOutcome
from adapterworks.builders.evaluation.metrics.metric import Metric
from adapterworks.builders.evaluation.statistics import share_interval
from adapterworks.manifests.evaluate_tables import QualityGate


def judge(gate: QualityGate, comparison: Comparison) -> GateOutcome:
    """Passes if the interval's worse bound is within `limit`: at most it, or at least it where
    higher is better."""
    assert gate.limit is not None, "checked with the manifest"
    bounds = comparison.interval(CANDIDATE, gate.confidence)
    value, shares = comparison.value(CANDIDATE), comparison.metric.unit == "share"

    def shown(number: float) -> str:
        return f"{number:.1%}" if shares else f"{number:.2f} {comparison.metric.unit}"

    if comparison.metric.higher_is_better:
        bound, word, passed = bounds.low, "least", bounds.low >= gate.limit - ROUNDING
    else:
        bound, word, passed = bounds.high, "most", bounds.high <= gate.limit + ROUNDING
    why = (
        f"{gate.metric}: {shown(value)}, at {gate.confidence:.0%} at {word} {shown(bound)}, "
        f"which {'is' if passed else 'is not'} within {shown(gate.limit)}"
    )
    return GateOutcome("quality", gate.metric, passed, why)


def hopeless(gate: QualityGate, metric: Metric, rows: int) -> str | None:
    """Even where every row has the best score, its interval has a width."""
    assert gate.limit is not None, "checked with the manifest"
    if not metric.of_shares or not (metric.is_mean or metric.among is not None):
        return None
    best = np.full(rows, float(metric.higher_is_better))
    bounds = share_interval(best, gate.confidence)
    if metric.higher_is_better and bounds.low < gate.limit - ROUNDING:
        return f"{rows} test rows show at most {bounds.low:.1%}, not {gate.limit:.1%}"
    if not metric.higher_is_better and bounds.high > gate.limit + ROUNDING:
        return f"{rows} test rows show no less than {bounds.high:.1%}, not {gate.limit:.1%}"
    return None


GATE = GateKind(
    name="limit",
    description="The interval of the candidate's own value is within `limit`",
    judge=judge,
    hopeless=hopeless,
)
