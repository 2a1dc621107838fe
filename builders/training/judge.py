"""A reward release as the judge of sampled answers: its adapter stands in the policy's place.

Invariant: policy, reward and reference are adapters over one base in memory; the policy is as it
was afterwards. An answer is judged as the release was trained to (`data/verdict.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from adapterworks.builders.data.rows import Message, Row
from adapterworks.builders.objectives.batch import CONTRAST, TokenSequence
from adapterworks.builders.objectives.scoring import with_adapter
from adapterworks.builders.objectives.verdicts import encode_verdicts
from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.training.forward import Forward, chunks
from adapterworks.manifests.errors import Refused


def answered_with(row: Row, text: str) -> Row:
    """A row's prompt with another answer."""
    answer: Message = {"role": "assistant", "content": text}
    return replace(row, messages=(*row.context, answer), others=(), answer_turns=1, scores=())


class Judge:
    """Gives rewards.

    Args:
        forward: runs the model.
        tokenizer: of the base.
        plan: of the training.
        folder: the reward's adapter.
    """

    def __init__(self, forward: Forward, tokenizer: Any, plan: Plan, folder: Path) -> None:
        self.forward, self.tokenizer, self.plan, self.folder = forward, tokenizer, plan, folder

    def rewards(self, rows: Sequence[Row]) -> list[float]:
        """The reward of each row's own answer, in nats.

        Raises:
            Refused: one is no number.
        """
        most: int = getattr(self.plan.manifest.objective, "max_completion", 0)
        longest = self.plan.manifest.train.max_length + most
        encoded = encode_verdicts(self.tokenizer, rows, longest, 1)
        sequences = [
            TokenSequence(
                torch.tensor(one.input_ids),
                torch.tensor(one.labels),
                {CONTRAST: torch.tensor(one.columns[CONTRAST])},
            )
            for (one,) in encoded
        ]
        found: list[float] = []
        training = self.forward.bare.training
        with with_adapter(self.forward.bare, self.folder):
            self.forward.bare.eval()
            for micro in chunks([*range(len(sequences))], self.plan.micro_batch):
                scores = self.forward.plain_scores([sequences[index] for index in micro])
                found += (scores.logprobs - scores.columns[CONTRAST]).tolist()
        self.forward.bare.train(training)
        if not all(math.isfinite(value) for value in found):
            raise Refused(
                "the reward release gives an answer no number",
                hint="look at the answer with `adapters samples NAME`",
            )
        return found
