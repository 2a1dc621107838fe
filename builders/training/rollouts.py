"""Answers of the policy, sampled while it is trained: prompts → samples → rewards → examples.

Invariant: every prompt of a step ends as a group of examples, or is counted as skipped: to an
objective that compares answers, a group of equal rewards teaches nothing, and holds the policy near
its reference where there is one. A reward that is no number stops the build. What holds of all that
is sampled is in `sampling.py`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from adapterworks.builders.data.reasoning import spoken
from adapterworks.builders.data.rows import Row
from adapterworks.builders.objectives.batch import TokenSequence
from adapterworks.builders.objectives.graders import grade_sampled
from adapterworks.builders.objectives.max_reward import max_reward
from adapterworks.builders.objectives.policy_gradient import (
    ADVANTAGE,
    OLD,
    REWARD,
    PolicyGradient,
)
from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.rewards.asking import KEPT
from adapterworks.builders.rewards.asking import Judge as EndpointJudge
from adapterworks.builders.rewards.external import ExternalRewards
from adapterworks.builders.training.batches import EncodedSet
from adapterworks.builders.training.forward import Forward, chunks
from adapterworks.builders.training.judge import Aggregate, Judge, StepJudge, answered_with
from adapterworks.builders.training.samplers import Sample, Sampler
from adapterworks.builders.training.sampling import (
    Collected,
    Sampling,
    learnt,
    prompt_of,
    sequence_of,
    told_of,
    with_columns,
)
from adapterworks.manifests.errors import AdapterworksError, Refused
from adapterworks.manifests.extensions import load

_WORTH = "a reward that cannot judge an answer must say what it is worth"
WITHOUT_VALUE = "graders_without_value"
"""In a step's log: answers that a grader gives no value, which are worth 0 to it."""


class Verifier(Protocol):
    """What gives an answer a score by itself; a metric of an evaluation is one."""

    def score(self, answer: str, row: Row) -> float: ...

    def scores(self, answers: Sequence[str], rows: Sequence[Row]) -> list[float]: ...


class Rollouts(Sampling):
    """Samples, rewards and examples of one training.

    Args:
        folder: receives what a judge at an endpoint said, too.
        reference: the folder of the adapter that is the reference, where it is one.
        reward: the folder of the reward's adapter, where a release rewards.
        separator: what its steps end with, where it judges steps.
    """

    objective: PolicyGradient

    def __init__(
        self,
        plan: Plan,
        objective: PolicyGradient,
        forward: Forward,
        sampler: Sampler,
        tokenizer: Any,
        rows: dict[str, list[Row]],
        folder: Path,
        reference: Path | None = None,
        reward: Path | None = None,
        separator: str | None = None,
    ) -> None:
        super().__init__(plan, objective, forward, sampler, tokenizer, rows, folder)
        self.reference = reference
        table = objective.settings
        self.judge: Judge | StepJudge | None = None
        if reward is not None and separator is not None:
            aggregate: Aggregate = table.reward_aggregate or "min"
            self.judge = StepJudge(forward, tokenizer, plan, reward, separator, aggregate)
        elif reward is not None:
            self.judge = Judge(forward, tokenizer, plan, reward)
        asked = table.judge and EndpointJudge(table.judge, folder / KEPT, os.environ)
        self.external = ExternalRewards(table.graders, asked)
        weights = table.reward_weights or (1.0,) * len(table.rewards)
        self.told: dict[str, float] = {}
        self.rewards = [
            (name, load("metrics", name), weight)
            for name, weight in zip(table.rewards, weights, strict=True)
        ]

    def collect(self, examples: EncodedSet, indices: Sequence[int], step: int) -> Collected:
        """What is learnt at a step (from 0) on the prompts of these indices.

        Raises:
            Refused: a reward is no number or fails, or sampler and trainer disagree.
        """
        table = self.objective.settings
        prompts = [prompt_of(example[0]) for example in examples.chosen(indices)]
        groups = self.sampler.sample(
            prompts, table.generations, table.max_completion, self.seeds(indices, step)
        )
        rewards = torch.tensor(self._rewards("train", indices, groups))
        advantages = self.objective.advantages(rewards)
        spread = rewards.max(dim=1).values - rewards.min(dim=1).values
        # Where the policy is held near a reference, it is by every answer: by those of a group that
        # teaches nothing else, too (TRL: `beta * per_token_kl` of all completions).
        every = self.objective.every_group or self.plan.reference is not None
        kept = [number for number, by in enumerate(spread.tolist()) if by > 0 or every]
        self._tell(step, indices, groups, [{"rewards": own} for own in rewards.tolist()])
        alone = min(1, rewards.shape[1] - 1)  # one answer has no deviation, and not NaN
        metrics = {
            "reward": float(rewards.mean()),
            "reward_deviation": float(rewards.std(dim=1, correction=alone).mean()),
            **told_of(groups),
            "skipped_groups": float(len(groups) - len(kept)),
            **self.sampler.told,
            **self.told,
        }
        sequences = [
            sequence_of(
                prompts[number],
                sample,
                {
                    ADVANTAGE: float(advantages[number, place]),
                    REWARD: float(rewards[number, place]),
                },
            )
            for number in kept
            for place, sample in enumerate(groups[number])
        ]
        if not sequences:
            return Collected(EncodedSet((), ()), metrics)
        sequences, mismatch = self._scored(sequences)
        sequences = self.objective.credited(sequences)
        counts = tuple(self.objective.count(learnt(sequence)) for sequence in sequences)
        return Collected(
            EncodedSet(tuple((sequence,) for sequence in sequences), counts),
            metrics | {"mismatch": mismatch},
        )

    def close(self) -> None:
        self.external.close()

    @property
    def highest(self) -> float | None:
        return max_reward(self.objective.settings)

    def measured(self, examples: EncodedSet) -> dict[str, float]:
        """The mean reward of the likeliest answers to the validation prompts."""
        most, total = self.objective.settings.max_completion, 0.0
        for some in chunks([*range(len(examples))], self.together(1)):
            prompts = [prompt_of(example[0]) for example in examples.chosen(some)]
            groups = self.sampler.sample(prompts, 1, most, None)
            total += sum(value for (value,) in self._rewards("validation", some, groups))
        return {"reward": total / len(examples)}

    def _rewards(
        self, split: str, indices: Sequence[int], groups: Sequence[Sequence[Sample]]
    ) -> list[list[float]]:
        """What each answer is worth: [prompts][generations].

        Raises:
            Refused: something says no number.
        """
        rows = [self.rows[split][index] for index in indices]
        texts = [[self._text(one) for one in group] for group in groups]
        scored = self.external.score(rows, texts)
        self.told = scored.metrics
        verified = iter(self._verified(split, indices, texts))
        found = [
            [
                self._graded(
                    next(verified), row, text, [given[at][place] for given in scored.grades]
                )
                + scored.rewards[at][place]
                for place, text in enumerate(group)
            ]
            for at, (row, group) in enumerate(zip(rows, texts, strict=True))
        ]
        if self.judge is None:
            return found
        answered = [
            answered_with(row, spoken(text))
            for row, group in zip(rows, texts, strict=True)
            for text in group
        ]
        prompts = [at for at, group in enumerate(groups) for _ in group]
        judged = iter(self.judge.rewards(answered, prompts))
        weight = self.objective.settings.reward_release_weight
        return [[value + weight * next(judged) for value in group] for group in found]

    def _verified(
        self, split: str, indices: Sequence[int], texts: Sequence[Sequence[str]]
    ) -> list[float]:
        """What the verifiers give every answer, one group after another.

        Raises:
            Refused: one says no number, or fails.
        """
        answers = [text for group in texts for text in group]
        places = [index for index, group in zip(indices, texts, strict=True) for _ in group]
        rows = [self.rows[split][index] for index in places]
        totals = [0.0] * len(answers)
        for name, metric, weight in self.rewards:
            try:
                values = metric.scores(answers, rows)
            except (AdapterworksError, MemoryError):
                raise
            except Exception:  # one of them alone says which it is
                values = [
                    self._score(name, metric, split, *one)
                    for one in zip(places, answers, strict=True)
                ]
            for place, value in enumerate(values):
                if not math.isfinite(value):
                    raise Refused(
                        f"reward `{name}` of {self._place(split, places[place])} is {value}, which "
                        f"is no number; the answer: {answers[place][:80]!r}",
                        hint=_WORTH,
                    )
                totals[place] += weight * value
        return totals

    def _score(self, name: str, metric: Verifier, split: str, index: int, text: str) -> float:
        try:
            return metric.score(text, self.rows[split][index])
        except (AdapterworksError, MemoryError):
            raise
        except Exception as error:
            raise Refused(
                f"reward `{name}` of {self._place(split, index)} ended in "
                f"{type(error).__name__} ({str(error)[:200]}); the answer: {text[:80]!r}",
                hint=_WORTH,
            ) from error

    def _place(self, split: str, index: int) -> str:
        return f"{split} row {self.rows[split][index].number or index + 1}"

    def _graded(
        self, total: float, row: Row, text: str, external: Sequence[Mapping[str, float]]
    ) -> float:
        """The total with what the graders give an answer."""
        graders = self.objective.settings.graders
        for grader, given in zip(graders, external, strict=True):
            worth = grade_sampled(grader, text, row, given)
            if worth is None:  # a wrong answer is no fault of the manifest: it is counted
                self.told[WITHOUT_VALUE] = self.told.get(WITHOUT_VALUE, 0.0) + 1
            total += worth or 0.0
        return total

    def _scored(self, sequences: list[TokenSequence]) -> tuple[list[TokenSequence], float]:
        """The sequences with what trainer and reference say of them, and how far the sampler was
        off."""
        scored, mismatch = self._agreed(sequences)
        if self.plan.reference is not None:
            with self.forward.reference_policy(self.plan.reference, self.reference):
                held = self._columns(scored)
            scored = [
                with_columns(sequence, {"reference": own[OLD]})
                for sequence, own in zip(scored, held, strict=True)
            ]
        return scored, mismatch
