"""Simple preference optimization: the chosen answer's mean log-probability must exceed the rejected
one's by a margin; no reference, so nothing but the learning rate holds the policy back.

What is left out: label smoothing, and CPO's fine-tuning term (`dpo` with `sft_weight` has one).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from adapterworks.builders.objectives.objective import Loss
from adapterworks.builders.objectives.pairs import PairObjective, halves
from adapterworks.builders.objectives.scores import Scores
from adapterworks.manifests.objective import ObjectiveTable
from adapterworks.manifests.values import PositiveFloat


class SimpoTable(ObjectiveTable):
    """Simple preference optimization (Meng et al. 2024)."""

    kind: Literal["simpo"]
    """The objective."""
    beta: PositiveFloat = 2.0
    """Scale of the mean log-probabilities (2.0 to 2.5 in the paper)."""
    gamma: Annotated[float, Field(ge=0.0)] = 0.5
    """The margin that a pair should have, in the loss's own units."""


class Simpo(PairObjective):
    """Σ −log σ(β·(mean log p(chosen) − mean log p(rejected)) − γ)."""

    name = "simpo"
    title = "simple preference optimization"
    source = "Meng et al. 2024, arXiv:2405.14734"
    table = SimpoTable

    def losses(self, scores: Scores) -> Loss:
        """Sum: over pairs. Metrics: share of pairs whose chosen answer is likelier, and margin."""
        from torch.nn.functional import logsigmoid

        table: SimpoTable = self.settings
        chosen, rejected = halves(scores.by_sequence(scores.logprobs) / scores.lengths())
        losses = -logsigmoid(table.beta * (chosen - rejected) - table.gamma)
        margins = table.beta * (chosen - rejected).detach()
        metrics = {"reward_accuracy": (margins > 0).float().sum(), "margin": margins.sum()}
        return Loss(losses.sum(), float(len(losses)), metrics)


OBJECTIVE = Simpo()
