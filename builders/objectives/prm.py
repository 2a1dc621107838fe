"""A process reward model: of each step of an answer, whether it is a good one.

The reward of a step is read from the language head where the step has ended, log p(`+`) −
log p(`-`) of the next token (`data/steps.py`), so that a release is an adapter that is proved and
served like any other.

What is left out of TRL's `PRMTrainer` (which its release 1.16 has no more): a token classifier's
head, whose two logits are here those of two words, so the loss is the same; and labels that are
made by rolling out what follows a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from adapterworks.builders.data.render import IGNORED, LossOn
from adapterworks.builders.data.rows import Row
from adapterworks.builders.data.steps import USUAL
from adapterworks.builders.methods.technique import Default
from adapterworks.builders.objectives.batch import CONTRAST
from adapterworks.builders.objectives.examples import Example
from adapterworks.builders.objectives.objective import Loss, Objective
from adapterworks.builders.objectives.scores import Scores
from adapterworks.builders.objectives.steps import encode_steps
from adapterworks.manifests.objective import ObjectiveTable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_JUDGEMENT = "judgement"


class PrmTable(ObjectiveTable):
    """A process reward model (Uesato et al. 2022; Lightman et al. 2023)."""

    kind: Literal["prm"]
    """The objective."""
    separator: Annotated[str, Field(min_length=1)] = USUAL
    """What stands behind each step, and where it is judged; sampled answers are cut into steps by
    it."""
    last_only: bool = False
    """Learn the judgement of each answer's last step alone."""


class Prm(Objective):
    """Σ over steps −y·log σ(r) − (1 − y)·log σ(−r), r = log p(+) − log p(−) behind the step."""

    name = "prm"
    title = "process reward modelling"
    source = "Uesato et al. 2022, arXiv:2211.14275; Lightman et al. 2023, arXiv:2305.20050"
    takes = frozenset({"stepped"})
    table = PrmTable
    by_row = True
    unit = "nats per step"
    judges = "steps"
    usage = (
        "A reward of steps, not an assistant: behind a step of an answer and its separator, "
        "log p(+) − log p(-) of the next token is the step's reward."
    )
    learning_rate = Default(
        1.5, "3e-4 beside 2e-4 for LoRA, as of `reward`: Tinker's recipes/preference/rlhf"
    )

    def encode(
        self,
        tokenizer: PreTrainedTokenizerBase,
        rows: Sequence[Row],
        max_length: int,
        loss_on: LossOn,
    ) -> list[Example]:
        """A sequence a row.

        Raises:
            InvalidInput: of a row no step has ended within `max_length`.
        """
        encoded = encode_steps(
            tokenizer,
            rows,
            [[step for step, _ in row.steps] for row in rows],
            [self.settings.separator] * len(rows),
            max_length,
            last_only=self.settings.last_only,
        )
        examples = []
        for row, sequence in zip(rows, encoded, strict=True):
            places = [at for at, label in enumerate(sequence.labels) if label != IGNORED]
            judged = [judgement for _, judgement in row.steps]
            judged = judged[-1:] if self.settings.last_only else judged[: len(places)]
            column = [0.0] * len(sequence.labels)
            for place, judgement in zip(places, judged, strict=True):
                column[place] = judgement
            columns = {**sequence.columns, _JUDGEMENT: column}
            examples.append(Example((replace(sequence, columns=columns),), float(len(places))))
        return examples

    def losses(self, scores: Scores) -> Loss:
        """Sum: over steps. Metrics: share of steps on the right side of nought, and how surely they
        are called good."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        rewards = scores.logprobs - scores.columns[CONTRAST]
        good = scores.columns[_JUDGEMENT].to(rewards.dtype)
        losses = binary_cross_entropy_with_logits(rewards, good, reduction="none")
        rewards = rewards.detach()
        metrics = {
            "step_accuracy": ((rewards > 0) == (good > 0.5)).float().sum(),
            "called_good": rewards.sigmoid().sum(),
        }
        return Loss(losses.sum(), float(len(losses)), metrics)


OBJECTIVE = Prm()
