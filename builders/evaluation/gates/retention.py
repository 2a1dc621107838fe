"""The budget against forgetting, `[evaluate.retention]`: perplexity on prose, and suites.

Invariant: a budget is kept where the paired interval of the change lies within it, so that few rows
do not pass what they cannot show; a change is measured on the same rows before and after.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adapterworks.builders.evaluation.gates.gate import ROUNDING, GateOutcome
from adapterworks.manifests.evaluate_tables import RetentionTable

USUAL = 0.95  # `evaluate.budget_confidence`, unless it is said


@dataclass(frozen=True, slots=True)
class Change:
    """A score of the base and of the candidate, and the change with its interval: of an accuracy
    (0–1) in points, of a perplexity as a share of the base's."""

    base: float
    candidate: float
    change: float
    low: float
    high: float


def retention_outcomes(
    table: RetentionTable,
    perplexity: Change,
    suites: Mapping[str, Change],
    confidence: float = USUAL,
) -> list[GateOutcome]:
    """The budget against forgetting.

    Args:
        table: the budget; a limit that is not set gates nothing.
        perplexity: on the fixed general prose.
        suites: accuracy by suite.
        confidence: of both's intervals.
    """
    outcomes, at = [], at_confidence(confidence)
    if (budget := table.max_perplexity_increase) is not None:
        outcomes.append(
            within_budget(
                "retention",
                "perplexity",
                perplexity.high,
                perplexity.change,
                budget,
                f"general prose: perplexity {perplexity.base:.2f} → {perplexity.candidate:.2f} "
                f"({perplexity.change:+.1%} [{perplexity.low:+.1%}, {perplexity.high:+.1%}]{at})",
                f"+{budget:.1%}",
            )
        )
    if (budget := table.max_suite_loss) is not None:
        for suite, found in suites.items():
            outcomes.append(
                within_budget(
                    "retention",
                    suite,
                    -found.low,
                    -found.change,
                    budget,
                    f"{suite}: accuracy {found.base:.1%} → {found.candidate:.1%} "
                    f"({found.change * 100:+.1f} points "
                    f"[{found.low * 100:+.1f}, {found.high * 100:+.1f}]{at})",
                    f"−{budget * 100:.1f} points",
                )
            )
    return outcomes


def at_confidence(confidence: float) -> str:
    """` at 99.4%` behind an interval of a budget, where it is not the usual 95 %."""
    return "" if confidence == USUAL else f" at {confidence * 100:.4g}%"


def within_budget(
    kind: str, name: str, worst: float, loss: float, budget: float, measured: str, allowed: str
) -> GateOutcome:
    """One verdict.

    Args:
        kind: of the gate.
        worst: the loss at the end of its interval.
        loss: as measured.
    """
    within = worst <= budget + ROUNDING
    if within:
        told = f"within the budget of {allowed}"
    elif loss > budget + ROUNDING:
        told = f"over the budget of {allowed}"
    else:
        told = f"too few rows to show that the budget of {allowed} is kept"
    return GateOutcome(kind, name, within, f"{measured}, {told}")
