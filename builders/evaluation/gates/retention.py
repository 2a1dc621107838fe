"""The budget against forgetting, `[evaluate.retention]`: perplexity on prose, and suites."""

from __future__ import annotations

from collections.abc import Mapping

from adapterworks.builders.evaluation.gates.gate import ROUNDING, GateOutcome
from adapterworks.manifests.evaluate_tables import RetentionTable


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
        passed = increase <= table.max_perplexity_increase + ROUNDING
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
            passed = before - after <= table.max_suite_loss + ROUNDING
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
