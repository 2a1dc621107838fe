"""A reward model: of two answers, the better one gets the higher reward (Bradley and Terry 1952).

The reward is read from the language head: the answer is put to the model with the question whether
it is a good one, and log p(`yes`) − log p(`no`) is its reward. So a reward release is an adapter
that is proved and served like any other, and its reward can be asked for at a gateway.

What is left out of TRL's: a scalar head of its own (no engine for text would load it). Rewards of
single steps are `prm`'s.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from adapterworks.builders.data.render import LossOn
from adapterworks.builders.data.rows import Row
from adapterworks.builders.methods.technique import Default
from adapterworks.builders.objectives.batch import CONTRAST
from adapterworks.builders.objectives.examples import Example
from adapterworks.builders.objectives.objective import Loss
from adapterworks.builders.objectives.pairs import PairObjective, halves
from adapterworks.builders.objectives.scores import Scores
from adapterworks.builders.objectives.verdicts import encode_verdicts, with_value
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.objective import ObjectiveTable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MARGIN = "margin"


class RewardTable(ObjectiveTable):
    """A reward model (Ouyang et al. 2022, eq. 1; Touvron et al. 2023, eq. 2)."""

    kind: Literal["reward"]
    """The objective."""
    margin: Annotated[float, Field(ge=0.0)] = 0.0
    """What a row's column `margin` is multiplied by: how far apart the rewards of its two answers
    should be. 0 does not read it."""
    center: Annotated[float, Field(ge=0.0)] = 0.0
    """Weight of (r₁ + r₂)², which holds rewards around 0 (Eisenstein et al. 2023); TRL recommends
    0.01."""


class Reward(PairObjective):
    """Σ over pairs −log σ(r₁ − r₂ − margin) + c·(r₁ + r₂)²."""

    name = "reward"
    title = "reward modelling"
    source = "Ouyang et al. 2022, arXiv:2203.02155, eq. 1"
    table = RewardTable
    unit = "nats per pair"
    judges = "answers"
    usage = (
        "A reward, not an assistant: after an answer ask “Is that a good answer? Reply with one "
        "word, yes or no.”, and log p(yes) − log p(no) of the first token is the answer's reward."
    )
    learning_rate = Default(
        1.5, "3e-4 beside 2e-4 for LoRA: Tinker's recipe, recipes/preference/rlhf/rlhf_pipeline.py"
    )

    def encode(
        self,
        tokenizer: PreTrainedTokenizerBase,
        rows: Sequence[Row],
        max_length: int,
        loss_on: LossOn,
    ) -> list[Example]:
        """Two sequences a row, each up to its verdict: the better answer, and the next best.

        Raises:
            InvalidInput: a row without a margin where margins are read.
        """
        margins = [self._margin(row, number) for number, row in enumerate(rows, 1)]
        pairs = encode_verdicts(tokenizer, rows, max_length, 2)
        return [
            Example(tuple(with_value(one, _MARGIN, margin) for one in pair), 1.0)
            for pair, margin in zip(pairs, margins, strict=True)
        ]

    def losses(self, scores: Scores) -> Loss:
        """Sum: over pairs. Metrics: share of pairs whose better answer has the higher reward, by
        how much, and each reward."""
        from torch.nn.functional import logsigmoid

        rewards = scores.by_sequence(scores.logprobs - scores.columns[CONTRAST])
        better, worse = halves(rewards)
        margins, _ = halves(scores.values[_MARGIN])
        losses = -logsigmoid(better - worse - margins)
        losses = losses + self.settings.center * (better + worse) ** 2
        better, worse = better.detach(), worse.detach()
        metrics = {
            "reward_accuracy": (better > worse).float().sum(),
            "margin": (better - worse).sum(),
            "reward_chosen": better.sum(),
            "reward_rejected": worse.sum(),
        }
        return Loss(losses.sum(), float(len(losses)), metrics)

    def _margin(self, row: Row, number: int) -> float:
        if not self.settings.margin:
            return 0.0
        given = row.meta.get(_MARGIN)
        if (
            isinstance(given, bool)
            or not isinstance(given, int | float)
            or not math.isfinite(given)
        ):
            raise InvalidInput(
                f"row {row.number or number} has no number in its column `margin`: {given!r}",
                hint="say of every pair by how much the better answer is better, or leave "
                "`objective.margin` out",
            )
        return float(self.settings.margin) * given


OBJECTIVE = Reward()
