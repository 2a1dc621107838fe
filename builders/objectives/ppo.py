"""Proximal policy optimization: a value head expects, token by token, what reward is still to come,
and tokens after which it turned out better than expected become likelier.

Policy, reference and value are one base in memory: the reference is the adapter as it began (or
none, or a release's), the value head one row of weights on the policy's own last hidden states,
with the policy's gradient. The head is a part of the training, never of the release.

What is left out: a value model of its own (the head shares the policy's adapter, as in Ziegler et
al. 2019), a weight of the divergence that adapts itself (it would hide how far the policy goes),
whitened rewards, a bonus for entropy, and an answer's length as a part of its reward.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from adapterworks.builders.data.render import IGNORED
from adapterworks.builders.methods.technique import Lint
from adapterworks.builders.objectives.batch import TokenSequence
from adapterworks.builders.objectives.credit import advantages, token_rewards, whitened
from adapterworks.builders.objectives.objective import Loss
from adapterworks.builders.objectives.policy_gradient import (
    ADVANTAGE,
    EXPECTED,
    OLD,
    REWARD,
    PolicyGradient,
    RolloutTable,
    clipped,
    divergence,
    importance,
    told,
)
from adapterworks.builders.objectives.scores import Scores
from adapterworks.manifests.checking import Problem, check
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.values import PositiveFloat, PositiveInt

if TYPE_CHECKING:
    import torch

_RETURN = "return"


class PpoTable(RolloutTable):
    """Proximal policy optimization (Schulman et al. 2017) of a language model (Ziegler et al.
    2019)."""

    kind: Literal["ppo"]
    """The objective."""
    generations: Annotated[int, Field(ge=1, le=256)] = 4
    """Answers sampled to each prompt; they are not compared with each other, so 1 will do where
    `train.batch_size` is large."""
    beta: Annotated[float, Field(ge=0.0)] = 0.05
    """Weight of the divergence from the reference, which is taken off each token's reward; 0 does
    without a reference."""
    epsilon: PositiveFloat = 0.2
    """How far from 1 a token's ratio counts."""
    epsilon_value: PositiveFloat = 0.2
    """How far a value may move from the one at sampling, to count."""
    discount: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """γ: what a reward one token later is worth."""
    trace: Annotated[float, Field(ge=0.0, le=1.0)] = 0.95
    """λ of generalized advantage estimation: 0 trusts the value head, 1 the rewards alone."""
    value_weight: PositiveFloat = 0.1
    """Weight of the value loss beside the policy's."""
    value_learning_rate: PositiveFloat = 10.0
    """The value head's learning rate, as a multiple of the policy's: it begins with nothing."""
    epochs: PositiveInt = 4
    """How often the answers of a step are learnt from."""
    minibatches: PositiveInt = 1
    """In how many parts, each an update of the weights."""


@check("objective")
def _parts(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """No part of a step is empty."""
    table = manifest.objective
    assert isinstance(table, PpoTable)
    answers = manifest.train.batch_size * table.generations
    if table.minibatches > answers:
        yield Problem(
            ("objective", "minibatches"),
            f"{table.minibatches} parts of a step's {answers} answers "
            f"({manifest.train.batch_size} prompts × {table.generations})",
            "use fewer parts, or a larger `train.batch_size`",
        )


class Ppo(PolicyGradient):
    """Σ −w·min(ρA, clip(ρ)A) + c·½max((V − R)², (clip(V) − R)²) over tokens, A by GAE, whitened,
    w = π_old/μ of what was sampled from μ."""

    name = "ppo"
    title = "proximal policy optimization"
    source = "Schulman et al. 2017, arXiv:1707.06347; Ziegler et al. 2019, arXiv:1909.08593"
    table = PpoTable
    every_group = True
    critic = True
    checks = (*PolicyGradient.checks, _parts)

    @property
    def behind_one_prompt(self) -> int:
        """Each pass learns from them in an order of its own."""
        return 1

    def advantages(self, rewards: torch.Tensor) -> torch.Tensor:
        """The rewards as they are: what they are worth is found token by token (`credited`)."""
        return rewards

    def count(self, tokens: int) -> float:
        return float(tokens)

    def credited(self, sequences: Sequence[TokenSequence]) -> list[TokenSequence]:
        """Each token's advantage, whitened over the step, and its return, R = A + V, not
        whitened."""
        table: PpoTable = self.settings
        learnt = [sequence.labels != IGNORED for sequence in sequences]
        expected = [s.columns[EXPECTED][own] for s, own in zip(sequences, learnt, strict=True)]
        found = []
        for sequence, own, values in zip(sequences, learnt, expected, strict=True):
            old = sequence.columns[OLD][own]
            held = sequence.columns["reference"][own] if table.beta else old
            rewards = token_rewards(sequence.values[REWARD], old - held, table.beta)
            found.append(advantages(rewards, values, table.discount, table.trace))
        return [
            replace(
                sequence,
                columns={
                    **sequence.columns,
                    ADVANTAGE: _placed(white, own),
                    _RETURN: _placed(advantage + values, own),
                },
            )
            for sequence, own, white, advantage, values in zip(
                sequences, learnt, whitened(found), found, expected, strict=True
            )
        ]

    def updates(self, examples: int, seed: int) -> list[list[int]]:
        """Every answer once an epoch, in parts of as equal sizes as can be."""
        import torch

        table: PpoTable = self.settings
        generator = torch.Generator().manual_seed(seed)
        parts = []
        for _ in range(table.epochs):
            order = torch.randperm(examples, generator=generator)
            parts += [part.tolist() for part in order.tensor_split(table.minibatches)]
        return [part for part in parts if part]

    def losses(self, scores: Scores) -> Loss:
        """Sum: over tokens. Metrics: as `grpo`, the value loss and the share of tokens where its
        clip decided."""
        import torch

        table: PpoTable = self.settings
        assert scores.expected is not None
        ratios = (scores.logprobs - scores.columns[OLD]).exp()
        credit = scores.columns[ADVANTAGE] * importance(scores, table.importance_cap)
        policy, outside = clipped(ratios, credit, table.epsilon, table.epsilon)
        before, aim = scores.columns[EXPECTED], scores.columns[_RETURN]
        moved = (scores.expected - before).clamp(-table.epsilon_value, table.epsilon_value)
        free, held = (scores.expected - aim) ** 2, (before + moved - aim) ** 2
        value = 0.5 * torch.max(free, held)
        count = float(len(policy))
        metrics = {
            **told(scores, outside, divergence(scores) if table.beta else None, count),
            "value_loss": value.detach().sum(),
            "value_clip_share": (held > free).float().sum(),
        }
        return Loss((policy + table.value_weight * value).sum(), count, metrics)

    def lints(self, manifest: Manifest) -> list[Lint]:
        table = manifest.objective
        assert isinstance(table, PpoTable)
        answers = manifest.train.batch_size * table.generations
        found = []
        if table.value_learning_rate < 1:
            found.append(
                Lint(
                    "objective.value_learning_rate",
                    f"the value head learns at {table.value_learning_rate:g} × the policy's rate, "
                    "and advantages are as good as its values",
                    "about 10 × is usual: verl (1e-5 beside 1e-6), OpenRLHF (9e-6 beside 5e-7)",
                )
            )
        if table.epochs > 4:
            found.append(
                Lint(
                    "objective.epochs",
                    f"{table.epochs} passes over the same answers; most of what the later ones "
                    "change is clipped",
                    "Ziegler et al. 2019 and TRL: 4",
                )
            )
        if table.reward_release is not None and not table.beta:
            found.append(
                Lint(
                    "objective.beta",
                    "nothing holds the policy where its reward release knows answers",
                    "Gao et al. 2022, arXiv:2210.10760: a reward model is over-optimized",
                )
            )
        if answers < 16:
            found.append(
                Lint(
                    "train.batch_size",
                    f"advantages are whitened over {answers} answers a step",
                    "Huang et al. 2024, arXiv:2403.17031: 512",
                )
            )
        return found


def _placed(values: torch.Tensor, learnt: torch.Tensor) -> torch.Tensor:
    """[length]: the values where a token is learnt, else 0."""
    import torch

    found = torch.zeros(len(learnt), dtype=values.dtype)
    found[learnt] = values
    return found


OBJECTIVE = Ppo()
