"""The manifest's gates: does a release deserve its alias? Each outcome says why in one line.

All gates must pass. That is an intersection–union test, so each gate keeps its own confidence:
asking for more gates makes passing harder, never luckier, and needs no correction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from adapterworks.builders.evaluation.metrics import METRICS
from adapterworks.builders.evaluation.statistics import Interval
from adapterworks.manifests.models import QualityGate, RetentionTable

# A budget of 5 points allows a loss of 5 points: 0.40 − 0.35 is a little more than 0.05.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class GateOutcome:
    """One gate's verdict; `kind` is `quality` or `retention`."""

    kind: str
    name: str
    passed: bool
    why: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def quality_outcome(gate: QualityGate, gain: float | None, bounds: Interval | None) -> GateOutcome:
    """A quality gate's verdict on the gain and its interval at the gate's confidence.

    Args:
        gate: from the manifest.
        gain: candidate minus reference, positive when better; None if there is no reference.
        bounds: the gain's interval.
    """
    unit = METRICS[gate.metric].unit
    if gain is None or bounds is None:
        why = f"{gate.metric}: there is no `{gate.against}` to compare with yet"
        return GateOutcome("quality", gate.metric, True, why)
    passed = bounds.low >= gate.min_gain - _ROUNDING
    relation = "reaches" if passed else "is below"
    why = (
        f"{gate.metric}: gain over {gate.against} {_shown(gain, unit)}, at {gate.confidence:.0%} "
        f"at least {_shown(bounds.low, unit)}, which {relation} {_shown(gate.min_gain, unit)}"
    )
    return GateOutcome("quality", gate.metric, passed, why)


def retention_outcomes(
    table: RetentionTable,
    perplexity: tuple[float, float],
    suites: Mapping[str, tuple[float, float]],
) -> list[GateOutcome]:
    """The budget against forgetting; pairs are (base, candidate).

    Args:
        table: the budget; a limit that is not set gates nothing.
        perplexity: on the fixed general prose.
        suites: accuracy 0–1 by suite.
    """
    outcomes = []
    if table.max_perplexity_increase is not None:
        before, after = perplexity
        increase = after / before - 1
        passed = increase <= table.max_perplexity_increase + _ROUNDING
        outcomes.append(
            GateOutcome(
                "retention",
                "perplexity",
                passed,
                f"general prose: perplexity {before:.2f} → {after:.2f} ({increase:+.1%}), "
                f"{'within' if passed else 'over'} the budget of "
                f"+{table.max_perplexity_increase:.1%}",
            )
        )
    if table.max_suite_loss is not None:
        for suite, (before, after) in suites.items():
            passed = before - after <= table.max_suite_loss + _ROUNDING
            outcomes.append(
                GateOutcome(
                    "retention",
                    suite,
                    passed,
                    f"{suite}: accuracy {before:.1%} → {after:.1%}, "
                    f"{'within' if passed else 'over'} the budget of "
                    f"−{table.max_suite_loss * 100:.1f} points",
                )
            )
    return outcomes


def all_passed(outcomes: Sequence[GateOutcome]) -> bool:
    """Whether every gate passed; without gates, yes."""
    return all(outcome.passed for outcome in outcomes)


def _shown(value: float, unit: str) -> str:
    # + 0.0 turns a rounded −0.0 into 0.0.
    if unit == "share":
        return f"{round(value * 100, 1) + 0.0:+.1f} points"
    return f"{round(value, 2) + 0.0:+.2f} {unit}"
