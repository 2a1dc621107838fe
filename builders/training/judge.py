"""A reward release as the judge of sampled answers: its adapter stands in the policy's place.

Invariant: policy, reward and reference are adapters over one base in memory; the policy is as it
was afterwards. An answer is judged as the release was trained to: as a whole (`data/verdict.py`),
or step by step (`data/steps.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from adapterworks.builders.data.render import Encoded
from adapterworks.builders.data.rows import Message, Row
from adapterworks.builders.data.steps import steps_of
from adapterworks.builders.objectives.batch import CONTRAST, TokenSequence
from adapterworks.builders.objectives.scoring import with_adapter
from adapterworks.builders.objectives.steps import encode_steps
from adapterworks.builders.objectives.verdicts import encode_verdicts
from adapterworks.builders.plan.apart import rows_apart
from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.training.forward import Forward, chunks
from adapterworks.manifests.errors import Refused

Aggregate = Literal["min", "mean", "last"]
_UNCUT = 2**20  # answers are no longer than they were sampled


def answered_with(row: Row, text: str) -> Row:
    """A row's prompt with another answer."""
    answer: Message = {"role": "assistant", "content": text}
    return replace(row, messages=(*row.context, answer), others=(), answer_turns=1, scores=())


class Judge:
    """Gives rewards of answers.

    Args:
        forward: runs the model.
        tokenizer: of the base.
        plan: of the training.
        folder: the reward's adapter.
    """

    def __init__(self, forward: Forward, tokenizer: Any, plan: Plan, folder: Path) -> None:
        self.forward, self.tokenizer, self.plan, self.folder = forward, tokenizer, plan, folder

    def rewards(self, rows: Sequence[Row], groups: Sequence[int]) -> list[float]:
        """The reward of each row's own answer, in nats.

        Args:
            groups: of each row, which others its reward is compared with.

        Raises:
            Refused: one is no number.
        """
        most: int = getattr(self.plan.manifest.objective, "max_completion", 0)
        longest = self.plan.manifest.train.max_length + most
        encoded = encode_verdicts(self.tokenizer, rows, longest, 1, groups)
        return [value for (value,) in self._read([one for (one,) in encoded])]

    def _read(self, sequences: Sequence[Encoded]) -> list[list[float]]:
        """log p(label) − log p(contrast) at every label of each sequence, as the release says.

        Raises:
            Refused: one is no number.
        """
        given = [
            TokenSequence(
                torch.tensor(one.input_ids),
                torch.tensor(one.labels),
                {CONTRAST: torch.tensor([*one.columns[CONTRAST]])},
            )
            for one in sequences
        ]
        found: list[list[float]] = []
        training = self.forward.bare.training
        with with_adapter(self.forward.bare, self.folder):
            self.forward.bare.eval()
            for micro in chunks([*range(len(given))], rows_apart(self.plan)):
                scores = self.forward.plain_scores([given[index] for index in micro])
                said = scores.logprobs - scores.columns[CONTRAST]
                found += [said[scores.owners == place].tolist() for place in range(len(micro))]
        self.forward.bare.train(training)
        if not all(math.isfinite(value) for values in found for value in values):
            raise Refused(
                "the reward release gives an answer no number",
                hint="look at the answer with `adapters samples NAME`",
            )
        return found


class StepJudge(Judge):
    """Gives rewards of answers by their steps, from 0 to 1.

    Args:
        separator: what steps end with.
        aggregate: which of them is the answer's: the worst (`min`), the `mean`, the `last` one.
    """

    def __init__(
        self,
        forward: Forward,
        tokenizer: Any,
        plan: Plan,
        folder: Path,
        separator: str,
        aggregate: Aggregate,
    ) -> None:
        super().__init__(forward, tokenizer, plan, folder)
        self.separator, self.aggregate = separator, aggregate

    def rewards(self, rows: Sequence[Row], groups: Sequence[int]) -> list[float]:
        """The reward of each row's own answer; one without a step is worth 0. None is cut.

        Raises:
            Refused: one is no number.
        """
        steps = [steps_of(row.answer, self.separator) for row in rows]
        some = [number for number, own in enumerate(steps) if own]
        encoded = encode_steps(
            self.tokenizer,
            [rows[number] for number in some],
            [steps[number] for number in some],
            [self.separator] * len(some),
            _UNCUT,
        )
        found = [0.0] * len(rows)
        for number, values in zip(some, self._read(encoded), strict=True):
            found[number] = aggregated(values, self.aggregate)
        return found


def aggregated(rewards: Sequence[float], aggregate: Aggregate) -> float:
    """One number of an answer's steps, in nats → 0 to 1: σ of each, and one of them. Pure."""
    shares = [_sigmoid(reward) for reward in rewards]
    if aggregate == "min":
        return min(shares)
    return shares[-1] if aggregate == "last" else sum(shares) / len(shares)


def _sigmoid(value: float) -> float:
    small = math.exp(-abs(value))
    return (1.0 if value >= 0 else small) / (1.0 + small)
