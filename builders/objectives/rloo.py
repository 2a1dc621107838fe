"""REINFORCE leave one out: an answer's baseline is the mean reward of the others to its prompt, and
the whole answer is one action.

What is left out: normalised advantages, and the divergence within the reward (here it is beside the
loss, as in `grpo`, so that rewards stay those of the verifier).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from adapterworks.builders.objectives.objective import Loss
from adapterworks.builders.objectives.policy_gradient import (
    ADVANTAGE,
    OLD,
    PolicyGradient,
    RolloutTable,
    clipped,
    divergence,
    importance,
    per_token,
    told,
)
from adapterworks.builders.objectives.scores import Scores
from adapterworks.manifests.values import PositiveFloat

if TYPE_CHECKING:
    import torch


class RlooTable(RolloutTable):
    """REINFORCE leave one out (Ahmadian et al. 2024)."""

    kind: Literal["rloo"]
    """The objective."""
    epsilon: PositiveFloat = 0.2
    """How far from 1 the ratio of a whole answer counts."""


class Rloo(PolicyGradient):
    """Σ over answers −w·min(ρA, clip(ρ)A), ρ of the whole answer, A its reward less the others', w
    its π_old/μ."""

    name = "rloo"
    title = "REINFORCE leave one out"
    source = "Ahmadian et al. 2024, arXiv:2402.14740"
    table = RlooTable

    def advantages(self, rewards: torch.Tensor) -> torch.Tensor:
        """Each reward less the mean of the others in its group."""
        others = rewards.shape[1] - 1
        return rewards - (rewards.sum(dim=1, keepdim=True) - rewards) / others

    def count(self, tokens: int) -> float:
        return 1.0

    def losses(self, scores: Scores) -> Loss:
        """Sum: over answers. Metrics: as `grpo`."""
        table: RlooTable = self.settings
        ratios = scores.by_sequence(scores.logprobs - scores.columns[OLD]).exp()
        weights = importance(scores, table.importance_cap, "answers")
        advantages = scores.values[ADVANTAGE] * weights
        losses, outside = clipped(ratios, advantages, table.epsilon, table.epsilon)
        kl = divergence(scores) if table.beta else None
        if kl is not None:
            losses = losses + table.beta * scores.by_sequence(kl)
        count = float(scores.sequences)
        return Loss(losses.sum(), count, told(scores, per_token(scores, outside), kl, count))


OBJECTIVE = Rloo()
