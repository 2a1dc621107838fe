"""What the objectives that learn from sampled answers share: rows, columns, clipped ratios.

Invariant: an answer's advantage is known before its loss; the loss of a token depends on its own
answer alone. Nothing here samples: `builders/training/rollouts.py` does, and gives each supervised
token its log-probability at that time (`old`) and each sequence its `advantage`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field

from adapterworks.builders.data.render import LossOn
from adapterworks.builders.data.rows import Row
from adapterworks.builders.methods.technique import Default
from adapterworks.builders.objectives.examples import Example, encode_answers
from adapterworks.builders.objectives.objective import Objective
from adapterworks.builders.objectives.scores import Scores
from adapterworks.manifests.named import Named
from adapterworks.manifests.objective import ObjectiveTable, ReferenceTable
from adapterworks.manifests.values import PositiveFloat, PositiveInt

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

OLD, ADVANTAGE = "old", "advantage"


class RolloutTable(ReferenceTable):
    """What every objective that samples can be told."""

    rewards: Annotated[tuple[Annotated[str, Named("metrics")], ...], Field(min_length=1)]
    """Metrics whose score of an answer is its reward, added up (see `adapters metrics`)."""
    reward_weights: tuple[float, ...] = ()
    """What each reward is multiplied by; 1 if not given."""
    generations: Annotated[int, Field(ge=2, le=256)] = 8
    """Answers sampled to each prompt: a group, within which rewards are compared."""
    max_completion: PositiveInt = 256
    """Longest sampled answer in tokens."""
    beta: Annotated[float, Field(ge=0.0)] = 0.0
    """Weight of the divergence from the reference; without it there is no reference."""
    max_mismatch: PositiveFloat = 1e-3
    """The most that the log-probabilities of sampler and trainer may differ by, in nats a token, at
    the 99th percentile of a batch; more stops the build."""


class PolicyGradient(Objective):
    """What learns from answers that the policy gives while it is trained."""

    takes = frozenset({"conversation"})
    unit = "mean reward"
    reports = "reward"
    higher_is_better = True
    rollouts = True
    learning_rate = Default(0.05, "1e-5 beside 2e-4 for LoRA: TRL, docs/source/peft_integration.md")

    def configured(self, settings: ObjectiveTable) -> Self:
        one = super().configured(settings)
        one.reference = getattr(settings, "beta", 0.0) > 0
        return one

    def encode(
        self,
        tokenizer: PreTrainedTokenizerBase,
        rows: Sequence[Row],
        max_length: int,
        loss_on: LossOn,
    ) -> list[Example]:
        """A row's prompt with its own answer, which is read by rewards and never learnt."""
        return [Example(one, 1.0) for one in encode_answers(tokenizer, rows, max_length, 1)]

    def planned_tokens(self, example: Example) -> int:
        """The prompt and the longest answer that may be sampled to it."""
        prompt = example.tokens - example.supervised
        return prompt + int(self.settings.max_completion)

    def diverged_above(self, start: float) -> float:
        """A policy gradient's loss says nothing of how good the policy is; NaN is refused."""
        return float("inf")

    @abstractmethod
    def advantages(self, rewards: torch.Tensor) -> torch.Tensor:
        """[prompts, generations] rewards → [prompts, generations] advantages. Pure."""

    @abstractmethod
    def count(self, tokens: int) -> float:
        """What an answer of so many tokens adds to what a step's loss is divided by."""


def clipped(
    ratios: torch.Tensor, advantages: torch.Tensor, low: float, high: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """PPO's −min(ρA, clip(ρ)A) of each element, and where the clip decided (as 0 and 1)."""
    import torch

    held = ratios.clamp(1 - low, 1 + high)
    outside = ((ratios < 1 - low) & (advantages < 0)) | ((ratios > 1 + high) & (advantages > 0))
    return -torch.min(ratios * advantages, held * advantages), outside.float()


def divergence(scores: Scores) -> torch.Tensor:
    """[tokens] the unbiased, never negative estimate of KL(π‖π₀) of Schulman 2020 (k3)."""
    apart = scores.columns["reference"] - scores.logprobs
    return apart.exp() - apart - 1


def per_token(scores: Scores, sequences: torch.Tensor) -> torch.Tensor:
    """[sequences] → [tokens]: each token its sequence's value."""
    return sequences[scores.owners]


def told(scores: Scores, outside: torch.Tensor, kl: torch.Tensor | None, count: float) -> Any:
    """The metrics of a micro batch, whose sums are divided by its count: means over sequences."""
    tokens = scores.lengths()
    share = count / scores.sequences
    metrics = {
        "entropy": -(scores.by_sequence(scores.logprobs.detach()) / tokens).sum() * share,
        "clip_share": (scores.by_sequence(outside) / tokens).sum() * share,
    }
    if kl is not None:
        metrics["kl"] = (scores.by_sequence(kl.detach()) / tokens).sum() * share
    return metrics
