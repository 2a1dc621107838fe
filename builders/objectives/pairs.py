"""What the objectives of pairs share: how a comparison becomes two sequences, and its columns.

Invariant: an example is one pair, the chosen answer first, and counts 1; whatever is said of a pair
is a sum or a mean over its own tokens, so that no pair depends on the others of its micro batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapterworks.builders.data.render import LossOn
from adapterworks.builders.data.rows import Row
from adapterworks.builders.methods.technique import Default
from adapterworks.builders.objectives.examples import Example, encode_answers
from adapterworks.builders.objectives.objective import Objective

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase


# TRL's PEFT guide gives DPO 5e-6 with LoRA where it gives supervised fine-tuning 2e-4.
LEARNING_RATE = Default(0.025, "5e-6 beside 2e-4 for LoRA: TRL, docs/source/peft_integration.md")


class PairObjective(Objective):
    """What learns from two answers to one prompt; further answers of a row are not read."""

    takes = frozenset({"comparison"})
    unit = "nats per pair"
    by_row = True
    sequences = 2
    learning_rate = LEARNING_RATE

    def encode(
        self,
        tokenizer: PreTrainedTokenizerBase,
        rows: Sequence[Row],
        max_length: int,
        loss_on: LossOn,
    ) -> list[Example]:
        """Two sequences a row: the answer that is preferred, and the next best."""
        return [Example(pair, 1.0) for pair in encode_answers(tokenizer, rows, max_length, 2)]


def halves(sequences: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[2·pairs] → [pairs] of the chosen answers, [pairs] of the rejected ones."""
    chosen, rejected = sequences.view(-1, 2).unbind(1)
    return chosen, rejected
