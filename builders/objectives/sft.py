"""Supervised fine-tuning: the answer's tokens become more likely, each counting the same.

What is left out: no length normalisation by row (a long answer weighs more than a short one, as its
tokens are more), no z-loss. A turn's `weight` multiplies its tokens in sum and count, so that
weights that are all equal change nothing. With label smoothing ε (Szegedy et al. 2015,
arXiv:1512.00567) a token's loss is (1 − ε) of its own and ε of the mean over the vocabulary, as
transformers' `LabelSmoother` has it; what it would be without is reported as `nll`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapterworks.builders.data.render import IGNORED, Encoded, LossOn, encode_rows
from adapterworks.builders.data.rows import Row, RowKind
from adapterworks.builders.objectives.examples import Example
from adapterworks.builders.objectives.objective import Loss, Objective
from adapterworks.builders.objectives.scores import Scores

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_WEIGHTS = "weights"


class Sft(Objective):
    """Σ −w·log p over the supervised tokens; w is 1 but where rows weigh their turns."""

    name = "sft"
    title = "instruction tuning"
    source = "Ouyang et al. 2022, arXiv:2203.02155, §3.5"
    takes = frozenset({"conversation", "document"})
    unit = "nats per supervised token"
    loss_on_all = True
    by_row = True
    smooths = True

    def encode(
        self,
        tokenizer: PreTrainedTokenizerBase,
        rows: Sequence[Row],
        max_length: int,
        loss_on: LossOn,
    ) -> list[Example]:
        """A sequence a row; of a long text, several examples."""
        encoded = encode_rows(tokenizer, rows, max_length, loss_on)
        if any(_WEIGHTS in sequence.columns for sequence in encoded):
            encoded = [_with_weights(sequence) for sequence in encoded]
        return [Example((sequence,), _count(sequence)) for sequence in encoded]

    def losses(self, scores: Scores) -> Loss:
        """Sum: nats. Count: supervised tokens, or the sum of their weights."""
        weights = scores.columns.get(_WEIGHTS)
        learnt, metrics = scores.logprobs, {}
        if self.smoothing:
            assert scores.uniform is not None
            learnt = (1 - self.smoothing) * learnt + self.smoothing * scores.uniform
            own = scores.logprobs if weights is None else weights * scores.logprobs
            metrics = {"nll": -own.sum()}
        if weights is None:
            return Loss(-learnt.sum(), float(len(learnt)), metrics)
        return Loss(-(weights * learnt).sum(), float(weights.sum()), metrics)

    def describe(self, kind: RowKind) -> str:
        return "continued pre-training" if kind == "document" else self.title


def _with_weights(sequence: Encoded) -> Encoded:
    """All rows of a set have the same columns."""
    if _WEIGHTS in sequence.columns:
        return sequence
    ones = [1.0] * len(sequence.input_ids)
    return Encoded(
        sequence.input_ids, sequence.labels, sequence.row, sequence.cut, {_WEIGHTS: ones}
    )


def _count(sequence: Encoded) -> float:
    """What the sequence is learnt by; its first token has nothing before it to be predicted by."""
    learnt = [label != IGNORED for label in sequence.labels[1:]]
    weights = sequence.columns.get(_WEIGHTS)
    if weights is None:
        return float(sum(learnt))
    return float(sum(w for w, counts in zip(weights[1:], learnt, strict=True) if counts))


OBJECTIVE = Sft()
