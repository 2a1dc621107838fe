"""Odds ratio preference optimization: fine-tuning on the chosen answer, with a penalty on the odds
of the rejected one, in one step and without a reference.

The fine-tuning term is that of the chosen answer's tokens, a mean a pair (TRL's covers the prompt
too, and is a mean over the batch's tokens).
"""

from __future__ import annotations

from typing import Literal

from adapterworks.builders.objectives.objective import Loss
from adapterworks.builders.objectives.pairs import PairObjective, halves
from adapterworks.builders.objectives.scores import Scores
from adapterworks.manifests.objective import ObjectiveTable
from adapterworks.manifests.values import PositiveFloat

# So that an answer of probability 1 has odds.
_LIKELIEST = -1e-6


class OrpoTable(ObjectiveTable):
    """Odds ratio preference optimization (Hong et al. 2024)."""

    kind: Literal["orpo"]
    """The objective."""
    beta: PositiveFloat = 0.1
    """Weight of the odds ratio beside the fine-tuning of the chosen answer (λ in the paper)."""


class Orpo(PairObjective):
    """Σ −log p̄(chosen) − β·log σ(log odds(chosen) − log odds(rejected)), p̄ the mean a token."""

    name = "orpo"
    title = "odds ratio preference optimization"
    source = "Hong et al. 2024, arXiv:2403.07691"
    table = OrpoTable

    def losses(self, scores: Scores) -> Loss:
        """Sum: over pairs. Metrics: share of pairs whose chosen answer has the larger odds."""
        import torch
        from torch.nn.functional import logsigmoid

        means = scores.by_sequence(scores.logprobs) / scores.lengths()
        likely = means.clamp(max=_LIKELIEST)
        chosen, rejected = halves(likely - torch.log(-torch.expm1(likely)))
        own, _ = halves(means)
        losses = -own - self.settings.beta * logsigmoid(chosen - rejected)
        margins = (chosen - rejected).detach()
        metrics = {"reward_accuracy": (margins > 0).float().sum(), "log_odds_ratio": margins.sum()}
        return Loss(losses.sum(), float(len(losses)), metrics)


OBJECTIVE = Orpo()
