"""Kahneman–Tversky optimization: answers that are each good or bad, without pairs.

A good answer should gain on its reference by more than the policy has moved from it anyway, a bad
one by less. How far the policy has moved is estimated in each step, before its losses, from answers
to other prompts (`beforehand`), and is not learnt from.

What is left out of TRL's: the estimate of a micro batch (here it is of the whole step, so that no
loss depends on how a step is cut), and `apo_zero_unpaired`, which needs none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from adapterworks.builders.data.render import IGNORED, Encoded, LossOn
from adapterworks.builders.data.rows import Message, Row
from adapterworks.builders.objectives.batch import Batch, TokenSequence
from adapterworks.builders.objectives.examples import Example, encode_alike
from adapterworks.builders.objectives.objective import Layout, Loss, Objective
from adapterworks.builders.objectives.pairs import LEARNING_RATE
from adapterworks.builders.objectives.scores import Scores
from adapterworks.builders.objectives.verdicts import with_value
from adapterworks.manifests.digests import digest_json
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.objective import ReferenceTable
from adapterworks.manifests.values import PositiveFloat

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

_GOOD, _KL = "good", "kl"


class KtoTable(ReferenceTable):
    """Kahneman–Tversky optimization (Ethayarajh et al. 2024)."""

    kind: Literal["kto"]
    """The objective."""
    beta: PositiveFloat = 0.1
    """How strongly the policy is held near its reference; smaller lets it go further."""
    good_weight: PositiveFloat = 1.0
    """Weight of good answers (λ_D); with far fewer of one side, weigh it up until
    weight × number is within 1 to 4/3 of the other's (the paper, §4.2)."""
    bad_weight: PositiveFloat = 1.0
    """Weight of bad answers (λ_U)."""


class Kto(Objective):
    """Σ λ·(1 − σ(±β(log π/π₀ − z))), z = max(0, KL estimate), + for good answers."""

    name = "kto"
    title = "Kahneman–Tversky optimization"
    source = "Ethayarajh et al. 2024, arXiv:2402.01306"
    takes = frozenset({"judged", "comparison"})
    unit = "per answer"
    sequences = 2
    reference = True
    looks_ahead = True
    table = KtoTable
    learning_rate = LEARNING_RATE

    def encode(
        self,
        tokenizer: PreTrainedTokenizerBase,
        rows: Sequence[Row],
        max_length: int,
        loss_on: LossOn,
    ) -> list[Example]:
        """Two sequences an answer: the answer, and an answer to another prompt behind its prompt,
        by which the divergence is estimated. A comparison's best answer is good, its next one bad.

        Raises:
            InvalidInput: all rows have one prompt, or a judgement is neither 0 nor 1.
        """
        if not rows:
            return []
        own: list[Row] = []
        others: list[Row] = []
        judged: list[tuple[int, float]] = []
        for number, (row, place) in enumerate(zip(rows, _elsewhere(rows), strict=True)):
            following = rows[place]
            for answer, good in _judged(row, number):
                own.append(row.answered(answer))
                others.append(_answered_by(row, following))
                judged.append((number, good))
        groups = [number for number, _ in judged]
        encoded = encode_alike(tokenizer, (own, others), groups, max_length)
        return [
            Example(tuple(_of(sequence, number, good) for sequence in both), 1.0)
            for both, (number, good) in zip(zip(*encoded, strict=True), judged, strict=True)
        ]

    def batch(self, examples: Sequence[tuple[TokenSequence, ...]], layout: Layout) -> Batch:
        """The answers alone: nothing is learnt from those of other rows."""
        return layout([own for own, _ in examples])

    def batch_beforehand(
        self, examples: Sequence[tuple[TokenSequence, ...]], layout: Layout
    ) -> Batch:
        return layout([other for _, other in examples])

    def beforehand(self, scores: Scores) -> Mapping[str, torch.Tensor]:
        """How much likelier answers of other rows are than under the reference."""
        return {_KL: (scores.logprobs - scores.columns["reference"]).sum()}

    def losses(self, scores: Scores) -> Loss:
        """Sum: over answers. Metrics: share of answers on their side of the estimate, by how much
        (in units of reward), and the estimate."""
        import torch

        table: KtoTable = self.settings
        moved = max(0.0, scores.beforehand[_KL])
        ratios = scores.by_sequence(scores.logprobs - scores.columns["reference"])
        good = scores.values[_GOOD]
        gains = table.beta * (2 * good - 1) * (ratios - moved)
        weights = table.good_weight * good + table.bad_weight * (1 - good)
        losses = weights * (1 - torch.sigmoid(gains))
        count = float(scores.sequences)
        metrics = {
            "reward_accuracy": (gains.detach() > 0).float().sum(),
            "margin": gains.detach().sum(),
            "kl": torch.tensor(moved * count),
        }
        return Loss(losses.sum(), count, metrics)


def _judged(row: Row, number: int) -> list[tuple[int, float]]:
    """Numbers of a row's answers, and whether each is good."""
    if row.others:
        return [(0, 1.0), (1, 0.0)]
    (judgement,) = row.scores
    if judgement not in (0.0, 1.0):
        raise InvalidInput(
            f"row {row.number or number + 1} is judged {judgement:g}; `kto` wants 1 (good) or 0",
            hint="decide from which judgement on an answer is good",
        )
    return [(0, float(judgement))]


def _elsewhere(rows: Sequence[Row]) -> list[int]:
    """Of each row the number of the next one that has another prompt, the first after the last.

    Raises:
        InvalidInput: none has.
    """
    prompts = [digest_json([list(row.prompt), list(row.tools)]) for row in rows]
    count = len(prompts)
    last = next((n for n in range(count) if prompts[n] != prompts[(n + 1) % count]), None)
    if last is None:
        raise InvalidInput(
            "`kto` estimates a divergence from answers to other prompts, and there is one prompt",
            hint="give it rows with other prompts, validation rows too",
        )
    found = [0] * count
    for back in range(count):  # from the last of its prompt backwards
        number = (last - back) % count
        following = (number + 1) % count
        found[number] = following if prompts[number] != prompts[following] else found[following]
    return found


def _answered_by(row: Row, other: Row) -> Row:
    """A row's prompt with the own answer of another row."""
    context: list[Message] = [
        {**turn, "weight": 0.0} if turn["role"] == "assistant" else turn for turn in row.context
    ]
    return Row((*context, *other.answers[0]), row.meta, tools=row.tools)


def _of(sequence: Encoded, number: int, good: float) -> Encoded:
    """The sequence as one of a row, with its judgement; a first token is not predicted."""
    assert any(label != IGNORED for label in sequence.labels)
    return with_value(replace(sequence, row=number), _GOOD, good)


OBJECTIVE = Kto()
