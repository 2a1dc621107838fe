"""Answers of the policy, sampled while it is trained: prompts → samples → rewards → examples.

Invariant: what is sampled at a step is a function of weights, seed and step, so a training that was
killed samples the same again. Token ids go from the sampler to the trainer as they are, never
through text. Every prompt of a step ends as a group of examples, or is counted as skipped: to an
objective that compares answers, a group of equal rewards teaches nothing. A reward that is no
number, and log-probabilities of sampler and trainer that differ by more than the manifest allows,
stop the build.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from adapterworks.builders.data.render import IGNORED
from adapterworks.builders.data.rows import Row
from adapterworks.builders.objectives.batch import TokenSequence
from adapterworks.builders.objectives.graders import grade_sampled
from adapterworks.builders.objectives.policy_gradient import (
    ADVANTAGE,
    EXPECTED,
    OLD,
    REWARD,
    PolicyGradient,
)
from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.rewards.asking import KEPT
from adapterworks.builders.rewards.asking import Judge as EndpointJudge
from adapterworks.builders.rewards.elsewhere import Elsewhere
from adapterworks.builders.training.batches import EncodedSet
from adapterworks.builders.training.forward import Forward, chunks
from adapterworks.builders.training.judge import Judge, answered_with
from adapterworks.builders.training.samplers import Sample, Sampler
from adapterworks.manifests.errors import Refused
from adapterworks.manifests.extensions import load
from adapterworks.manifests.json_lines import ended_lines

SAMPLES = "samples.jsonl"
WITHOUT_VALUE = "graders_without_value"
"""In a step's log: answers that a grader gives no value, which are worth 0 to it."""


@dataclass(frozen=True)
class Collected:
    """What a step samples.

    Attributes:
        rows: the examples to learn from.
        metrics: of all that was sampled.
    """

    rows: EncodedSet
    metrics: dict[str, float] = field(default_factory=dict)


class Rollouts:
    """Samples, rewards and examples of one training.

    Args:
        plan: of the training; its objective samples.
        objective: with the plan's settings.
        forward: runs the model.
        sampler: gives the answers.
        tokenizer: of the base, to read answers for rewards.
        rows: `train` and `validation`, in the order of the examples.
        folder: receives `samples.jsonl`, and what a judge at an endpoint said.
        reference: the folder of the adapter that is the reference, where it is one.
        reward: the folder of the reward's adapter, where a release rewards.
    """

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
    ) -> None:
        self.plan, self.objective, self.forward = plan, objective, forward
        self.sampler, self.tokenizer, self.rows = sampler, tokenizer, rows
        self.samples, self.reference = folder / SAMPLES, reference
        table = objective.settings
        self.judge = None if reward is None else Judge(forward, tokenizer, plan, reward)
        asked = table.judge and EndpointJudge(table.judge, folder / KEPT, os.environ)
        self.elsewhere = Elsewhere(table.graders, asked)
        weights = table.reward_weights or (1.0,) * len(table.rewards)
        self.told: dict[str, float] = {}
        self.rewards = [
            (name, load("metrics", name), weight)
            for name, weight in zip(table.rewards, weights, strict=True)
        ]

    def collect(self, examples: EncodedSet, indices: Sequence[int], step: int) -> Collected:
        """What is learnt at a step (from 0) on the prompts of these indices.

        Raises:
            Refused: a reward is no number, or sampler and trainer disagree.
        """
        table = self.objective.settings
        prompts = [prompt_of(example) for example in examples.chosen(indices)]
        groups = self.sampler.sample(
            prompts, table.generations, table.max_completion, self.seed(step)
        )
        rewards = torch.tensor(self._rewards("train", indices, groups))
        advantages = self.objective.advantages(rewards)
        spread = rewards.max(dim=1).values - rewards.min(dim=1).values
        kept = [
            number
            for number, by in enumerate(spread.tolist())
            if by > 0 or self.objective.every_group
        ]
        self._tell(step, indices, groups, rewards)
        alone = min(1, rewards.shape[1] - 1)  # one answer has no deviation, and not NaN
        flat = [sample for group in groups for sample in group]
        metrics = {
            "reward": float(rewards.mean()),
            "reward_deviation": float(rewards.std(dim=1, correction=alone).mean()),
            "length": sum(len(sample.ids) for sample in flat) / len(flat),
            "finished": sum(sample.finished for sample in flat) / len(flat),
            "entropy": -sum(float(sample.logprobs.mean()) for sample in flat) / len(flat),
            "skipped_groups": float(len(groups) - len(kept)),
            **self.sampler.told,
            **self.told,
        }
        sequences = [
            _sequence(
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
        counts = tuple(self.objective.count(_learnt(sequence)) for sequence in sequences)
        return Collected(
            EncodedSet(tuple((sequence,) for sequence in sequences), counts),
            metrics | {"mismatch": mismatch},
        )

    def seed(self, step: int) -> int:
        """Of what is drawn at a step (from 0)."""
        return int((self.plan.manifest.train.seed * 1_000_003 + step) % 2**63)

    def measured(self, examples: EncodedSet) -> dict[str, float]:
        """The mean reward of the likeliest answers to the validation prompts."""
        most, total = self.objective.settings.max_completion, 0.0
        for micro in chunks([*range(len(examples))], self.plan.micro_batch):
            prompts = [prompt_of(example) for example in examples.chosen(micro)]
            groups = self.sampler.sample(prompts, 1, most, None)
            total += sum(value for (value,) in self._rewards("validation", micro, groups))
        return {"reward": total / len(examples)}

    def forget_from(self, step: int) -> None:
        """Leave out the samples of steps that are taken again, and a line that a kill tore off."""
        if self.samples.exists():
            lines = ended_lines(self.samples.read_bytes())
            kept = [line + b"\n" for line in lines if json.loads(line)["step"] <= step]
            written = self.samples.with_suffix(".tmp")
            written.write_bytes(b"".join(kept))
            written.replace(self.samples)

    def _rewards(
        self, split: str, indices: Sequence[int], groups: Sequence[Sequence[Sample]]
    ) -> list[list[float]]:
        """What each answer is worth: [prompts][generations].

        Raises:
            Refused: something says no number.
        """
        rows = [self.rows[split][index] for index in indices]
        said = self.elsewhere.said(rows, [[self._text(one) for one in group] for group in groups])
        self.told = said.told
        found = [
            [
                self._reward(split, index, sample, [given[at][place] for given in said.grades])
                + said.rewards[at][place]
                for place, sample in enumerate(group)
            ]
            for at, (index, group) in enumerate(zip(indices, groups, strict=True))
        ]
        if self.judge is None:
            return found
        answered = [
            answered_with(self.rows[split][index], self._text(sample))
            for index, group in zip(indices, groups, strict=True)
            for sample in group
        ]
        judged = iter(self.judge.rewards(answered))
        weight = self.objective.settings.reward_release_weight
        return [[value + weight * next(judged) for value in group] for group in found]

    def _reward(
        self, split: str, index: int, sample: Sample, elsewhere: Sequence[Mapping[str, float]]
    ) -> float:
        row = self.rows[split][index]
        text = self._text(sample)
        total = 0.0
        for name, metric, weight in self.rewards:
            value = float(metric.score(text, row))
            if not math.isfinite(value):
                raise Refused(
                    f"reward `{name}` of {split} row {row.number or index + 1} is {value}, which "
                    f"is no number; the answer: {text[:80]!r}",
                    hint="a reward that cannot judge an answer must say what it is worth",
                )
            total += weight * value
        graders = self.objective.settings.graders
        for grader, given in zip(graders, elsewhere, strict=True):
            worth = grade_sampled(grader, text, row, given)
            if worth is None:  # a wrong answer is no fault of the manifest: it is counted
                self.told[WITHOUT_VALUE] = self.told.get(WITHOUT_VALUE, 0.0) + 1
            total += worth or 0.0
        return total

    def _text(self, sample: Sample) -> str:
        return str(self.tokenizer.decode(list(sample.ids), skip_special_tokens=True))

    def _scored(self, sequences: list[TokenSequence]) -> tuple[list[TokenSequence], float]:
        """The sequences with what the trainer says of them now, and how far the sampler was off."""
        said = self._columns(sequences)
        apart = torch.cat(
            [
                (own[OLD] - sequence.columns[OLD])[sequence.labels != IGNORED].abs()
                for own, sequence in zip(said, sequences, strict=True)
            ]
        )
        mismatch, limit = float(apart.quantile(0.99)), self.objective.settings.max_mismatch
        if not mismatch <= limit:
            raise Refused(
                f"sampler and trainer differ by {mismatch:.3g} nats a token (99th percentile), "
                f"allowed are {limit:g}: what is learnt would be biased",
                hint="`objective.max_mismatch` says how much is allowed; a bound of 1e-3 holds for "
                "float32",
            )
        scored = [_with(sequence, own) for sequence, own in zip(sequences, said, strict=True)]
        if self.plan.reference is not None:
            with self.forward.reference_policy(self.plan.reference, self.reference):
                held = self._columns(scored)
            scored = [
                _with(sequence, {"reference": own[OLD]})
                for sequence, own in zip(scored, held, strict=True)
            ]
        return scored, mismatch

    def _columns(self, sequences: list[TokenSequence]) -> list[dict[str, torch.Tensor]]:
        """[length] of each: the log-probability of every labelled token, else 0; and what the value
        head expects there, where there is one."""
        self.forward.bare.eval()
        found: list[dict[str, torch.Tensor]] = []
        for micro in chunks([*range(len(sequences))], self.plan.micro_batch):
            scores = self.forward.plain_scores([sequences[index] for index in micro])
            said = {OLD: scores.logprobs}
            if scores.expected is not None:
                said[EXPECTED] = scores.expected
            for place, index in enumerate(micro):
                learnt = sequences[index].labels != IGNORED
                own = {name: torch.zeros(len(learnt)) for name in said}
                for name, column in own.items():
                    column[learnt] = said[name][scores.owners == place].float().cpu()
                found.append(own)
        self.forward.bare.train()
        return found

    def _tell(
        self,
        step: int,
        indices: Sequence[int],
        groups: Sequence[Sequence[Sample]],
        rewards: torch.Tensor,
    ) -> None:
        self.samples.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            {
                "step": step + 1,
                "row": self.rows["train"][index].number or index + 1,
                "question": self.rows["train"][index].question,
                "answers": [self._text(sample) for sample in group],
                "rewards": own,
            }
            for index, group, own in zip(indices, groups, rewards.tolist(), strict=True)
        ]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        with self.samples.open("ab") as file:
            file.write(text.encode())


def prompt_of(example: Sequence[TokenSequence]) -> list[int]:
    """The ids before the first label of a row that was encoded with its own answer."""
    sequence = example[0]
    start = int((sequence.labels != IGNORED).nonzero()[0])
    return list(sequence.input_ids[:start].tolist())


def _sequence(prompt: Sequence[int], sample: Sample, values: Mapping[str, float]) -> TokenSequence:
    ids = torch.tensor([*prompt, *sample.ids])
    labels = torch.tensor([IGNORED] * len(prompt) + [*sample.ids])
    logprobs = torch.cat((torch.zeros(len(prompt)), sample.logprobs.float()))
    return TokenSequence(ids, labels, {OLD: logprobs}, values)


def _with(sequence: TokenSequence, columns: Mapping[str, torch.Tensor]) -> TokenSequence:
    return replace(sequence, columns={**sequence.columns, **columns})


def _learnt(sequence: TokenSequence) -> int:
    return int((sequence.labels != IGNORED).sum())
