"""Group relative policy optimization: of several answers to a prompt, those with a reward above the
group's mean become likelier, the others less likely.

What is left out: a value model (the group's mean is the baseline), a second update on the same
answers (so the clip decides nothing but where sampler and trainer differ), a bonus for entropy, and
by default the divergence from a reference (`beta`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

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

# So that a group whose rewards hardly differ has no huge advantages (as TRL).
_LEAST = 1e-4


class GrpoTable(RolloutTable):
    """Group relative policy optimization (Shao et al. 2024) and its kin."""

    kind: Literal["grpo"]
    """The objective."""
    loss: Literal["dapo", "grpo", "dr_grpo", "gspo"] = "dapo"
    """What a token counts: `dapo` the same in the whole step (Yu et al. 2025), `grpo` by its
    answer's length (Shao et al. 2024), `dr_grpo` by `max_completion` (Liu et al. 2025), `gspo` as
    `grpo`, with one ratio for the answer (Zheng et al. 2025)."""
    epsilon: PositiveFloat = 0.2
    """How far below 1 a ratio counts."""
    epsilon_high: PositiveFloat | None = None
    """How far above 1 a ratio counts; `epsilon` if not given (DAPO has 0.28)."""
    scale_rewards: bool = Field(default_factory=lambda earlier: earlier.get("loss") != "dr_grpo")
    """Divide advantages by the group's standard deviation; not for `dr_grpo` (Liu et al. 2025)."""


class Grpo(PolicyGradient):
    """Σ −w·min(ρA, clip(ρ)A) + β·KL over tokens, ρ = π/π_old, A of the answer, w = π_old/μ of what
    was sampled from μ."""

    name = "grpo"
    title = "group relative policy optimization"
    source = "Shao et al. 2024, arXiv:2402.03300"
    table = GrpoTable

    def advantages(self, rewards: torch.Tensor) -> torch.Tensor:
        """Rewards less their group's mean, over its standard deviation."""
        apart = rewards - rewards.mean(dim=1, keepdim=True)
        if not self.settings.scale_rewards:
            return apart
        return apart / (rewards.std(dim=1, keepdim=True) + _LEAST)

    def count(self, tokens: int) -> float:
        match self.settings.loss:
            case "dapo":
                return float(tokens)
            case "dr_grpo":
                return float(self.settings.max_completion)
        return 1.0

    def losses(self, scores: Scores) -> Loss:
        """Sum: over tokens, or over answers of the mean of their tokens. Metrics: entropy (sampled:
        nats a token), share of tokens where the clip decided, divergence where there is one."""
        table: GrpoTable = self.settings
        lengths = scores.lengths()
        apart = scores.logprobs - scores.columns[OLD]
        if table.loss == "gspo":
            apart = per_token(scores, scores.by_sequence(apart) / lengths)
        if table.loss == "gspo":
            weights = per_token(scores, importance(scores, table.importance_cap, "means"))
        else:
            weights = importance(scores, table.importance_cap)
        advantages = per_token(scores, scores.values[ADVANTAGE]) * weights
        high = table.epsilon if table.epsilon_high is None else table.epsilon_high
        losses, outside = clipped(apart.exp(), advantages, table.epsilon, high)
        kl = divergence(scores) if table.beta else None
        if kl is not None:
            losses = losses + table.beta * kl
        sums = scores.by_sequence(losses)
        if table.loss in ("grpo", "gspo"):
            sums = sums / lengths
        count = sum(self.count(int(length)) for length in lengths.tolist())
        return Loss(sums.sum(), count, told(scores, outside, kl, count))


OBJECTIVE = Grpo()
