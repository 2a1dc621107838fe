"""What a quality gate is: a verdict on the candidate under one metric, with its reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from adapterworks.builders.evaluation.comparison import Comparison
from adapterworks.builders.evaluation.metrics.metric import Metric
from adapterworks.manifests.evaluate_tables import QualityGate

# A budget of 5 points allows a loss of 5 points: 0.40 − 0.35 is a little more than 0.05.
ROUNDING = 1e-9


@dataclass(frozen=True)
class GateOutcome:
    """One gate's verdict; `kind` is `quality`, `retention` or `safety`. One that was not `judged`,
    since what it compares with was not asked, has not passed."""

    kind: str
    name: str
    passed: bool
    why: str
    judged: bool = True

    def to_json(self) -> dict[str, Any]:
        """As JSON values; `judged` only where it was not."""
        return {key: v for key, v in asdict(self).items() if key != "judged" or not self.judged}


def _never(gate: QualityGate, metric: Metric, rows: int) -> None:
    """Some candidate could pass, as far as anybody knows."""


@dataclass(frozen=True)
class GateKind:
    """One kind of `[[evaluate.gates]]`.

    Attributes:
        name: as `kind` says it.
        description: one sentence: when it passes.
        judge: the manifest's gate, and candidate and references under its metric → the verdict.
            `gate.against` need not be among the references: there may be no `prod` yet.
        hopeless: the manifest's gate, its metric, and how many test rows there are → why no
            candidate at all could pass; None where one could.
    """

    name: str
    description: str
    judge: Callable[[QualityGate, Comparison], GateOutcome]
    hopeless: Callable[[QualityGate, Metric, int], str | None] = _never


def all_passed(outcomes: Sequence[GateOutcome]) -> bool:
    """Whether every gate passed; without gates, yes."""
    return all(outcome.passed for outcome in outcomes)


def shown(value: float, unit: str) -> str:
    """A difference in the metric's unit, with its sign."""
    # + 0.0 turns a rounded −0.0 into 0.0.
    if unit == "share":
        return f"{round(value * 100, 1) + 0.0:+.1f} points"
    return f"{round(value, 2) + 0.0:+.2f} {unit}"
