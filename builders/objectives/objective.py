"""What an objective is to the rest of the build: one object, one file, one table entry.

An objective says what it makes of rows (`encode`), which sequences of a micro batch the model is
run on (`batch`), and what their scores come to (`losses`); it never runs a model. The trainer
multiplies: it adds up the losses of a step, divides by the step's whole count, and knows no
objective's name. So a further objective is one file, named in `manifests/builtin.py` or by an
entry point in the group `adapterworks.objectives`.

Invariant: `losses` is pure and never divides. Its sum and count are sums over the micro batch's
examples, so that the gradient does not depend on how a step is cut into micro batches, and its
count is what the examples said when they were encoded.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from adapterworks.builders.data.render import LossOn
from adapterworks.builders.data.rows import Row, RowKind
from adapterworks.builders.methods.technique import Default, Lint
from adapterworks.builders.objectives.batch import Batch, TokenSequence
from adapterworks.builders.objectives.examples import Example
from adapterworks.builders.objectives.scores import Scores
from adapterworks.manifests.checking import Check
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.extensions import Table
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.objective import ObjectiveTable

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

# What "the loss" is called among the things that can be reported.
LOSS = "loss"
Layout = Callable[[Sequence[TokenSequence]], Batch]


@dataclass(frozen=True, slots=True)
class Loss:
    """What a micro batch comes to.

    Attributes:
        sum: what is to be lowered, summed over the examples, with its gradient.
        count: what it is divided by, summed over the examples.
        metrics: further values by name (not `loss`), each summed in the same way and divided by
            the same count.
    """

    sum: torch.Tensor
    count: float
    metrics: Mapping[str, torch.Tensor] = field(default_factory=dict)


class Objective(ABC):
    """One objective.

    Attributes:
        name: what `objective.kind` says.
        title: its name in the literature.
        source: the paper.
        takes: the kinds of rows that it learns from; with a format's `gives` this decides which
            formats may be used.
        unit: of what is reported.
        reports: what decides which checkpoint is best and when to stop: `loss`, or one of its
            metrics.
        higher_is_better: of what is reported; the loss itself is always lowered.
        sequences: how many sequences an example has.
        reference: its columns need `reference`: the log-probability of every supervised token under
            the reference policy, which the trainer adds; its table is a `ReferenceTable`.
        loss_on_all: `train.loss_on = "all"` means something to it.
        smooths: it reads `scores.uniform`, for `train.label_smoothing`.
        table: its `[objective]`, where it has keys.
        smoothing: `train.label_smoothing`.
        settings: what the manifest's `[objective]` says; set by `configured`.
        rollouts: it learns from answers that the policy gives while it is trained; such an
            objective is a `PolicyGradient`.
        rewarded: what its answers are worth is found by reading all of a row, its columns too.
        by_row: a part of the rows is encoded as it is among all, but for columns that no row of the
            part has; so many rows need not be encoded at once.
        looks_ahead: its losses need what `beforehand` finds over the whole step.
        judges: what a release of it gives rewards of: `answers`, `steps` or nothing.
        usage: how a release of it is asked, where that is not as an assistant.
        checks: of a manifest, each refusing a combination with this objective's keys.
        learning_rate: what the method's default learning rate is multiplied by, and who says so.
        taught: each token's distribution is compared with a teacher's.
    """

    name: str
    title: str
    source: str
    takes: frozenset[RowKind]
    unit: str
    reports: str = LOSS
    higher_is_better: bool = False
    sequences: int = 1
    reference: bool = False
    loss_on_all: bool = False
    smooths: bool = False
    smoothing: float = 0.0
    table: type[ObjectiveTable] = ObjectiveTable
    settings: Any = None
    rollouts: bool = False
    rewarded: bool = False
    by_row: bool = False
    looks_ahead: bool = False
    judges: Literal["answers", "steps", ""] = ""
    usage: str = ""
    checks: tuple[Check, ...] = ()
    learning_rate: Default = Default(1.0, "the method's own")
    taught: bool = False

    @property
    def compares(self) -> bool:
        """Whether a policy is compared with a reference, or with what it sampled: then nothing may
        move it by chance."""
        return self.reference or self.rollouts

    @property
    def learns_turns(self) -> bool:
        """Whether turns of conversations are learnt as rows say: by their weights, and all of them
        or the last one. What compares answers, or judges them, takes each as a whole."""
        return "conversation" in self.takes and not self.rollouts

    @property
    def behind_one_prompt(self) -> int:
        """How many examples that follow each other have one prompt, in each update of the weights;
        1 where nobody knows."""
        return 1

    def configured(self, settings: ObjectiveTable) -> Self:
        """The same objective with what a manifest says of it."""
        one = copy.copy(self)
        one.settings = settings
        return one

    @abstractmethod
    def encode(
        self,
        tokenizer: PreTrainedTokenizerBase,
        rows: Sequence[Row],
        max_length: int,
        loss_on: LossOn,
    ) -> list[Example]:
        """The rows as examples, in order; the same rows give the same examples.

        Raises:
            InvalidInput: a row from which nothing would be learnt.
        """

    @abstractmethod
    def losses(self, scores: Scores) -> Loss:
        """What a micro batch's scores come to. Pure; differentiable in `scores.logprobs`."""

    def batch(self, examples: Sequence[tuple[TokenSequence, ...]], layout: Layout) -> Batch:
        """The micro batch of some examples: their sequences one after the other.

        Args:
            examples: each one's sequences.
            layout: makes a batch of sequences: padded, packed or behind what they share.
        """
        return layout([sequence for example in examples for sequence in example])

    def batch_beforehand(
        self, examples: Sequence[tuple[TokenSequence, ...]], layout: Layout
    ) -> Batch:
        """What is run before a step's losses, without a gradient, where it `looks_ahead`."""
        raise NotImplementedError(f"objective `{self.name}` looks ahead at nothing")

    def beforehand(self, scores: Scores) -> Mapping[str, torch.Tensor]:
        """Sums by name over a micro batch of `batch_beforehand`. Pure.

        Divided by the step's examples they are `Scores.beforehand`, the same in each micro batch.
        """
        raise NotImplementedError(f"objective `{self.name}` looks ahead at nothing")

    def describe(self, kind: RowKind) -> str:
        """What a training on such rows is called."""
        return self.title

    def planned_tokens(self, example: Example) -> int:
        """The tokens that an example has while it is trained, at most."""
        return example.tokens

    def planned_longest(self, example: Example) -> int:
        """The tokens of its longest sequence while it is trained, at most."""
        return self.planned_tokens(example) // self.sequences

    def held(self, trainable: int) -> int:
        """Bytes that are held for it beside the model and its optimizer.

        Args:
            trainable: trained parameters.
        """
        return 0

    def planned_supervised(self, example: Example) -> int:
        """How many of them have a label, at most."""
        return example.supervised

    def updates(self, examples: int, seed: int) -> list[list[int]]:
        """Which of a step's examples each update of the weights learns from. Pure."""
        return [[*range(examples)]]

    def diverged_above(self, start: float) -> float:
        """The smoothed loss from which a training that began at `start` has diverged.

        Twice where it began plus one: no schedule comes back from there within a fine-tuning's few
        steps. For losses that are not bounded by 0, say something else.
        """
        return 2 * start + 1

    def lints(self, manifest: Manifest) -> list[Lint]:
        """What is allowed and unusual about its keys, each with who found otherwise."""
        return []

    def better(self, value: float, best: float) -> bool:
        """Whether a reported value is better than the best so far."""
        return value > best if self.higher_is_better else value < best

    def require(self, rows: Sequence[Row]) -> None:
        """Refuse rows that this objective does not take.

        Raises:
            InvalidInput: the message names the first and says what would be ignored.
        """
        for index, row in enumerate(rows, 1):
            if not self.learns_turns and (weight := _odd_weight(row)) is not None:
                raise InvalidInput(
                    f"row {row.number or index} weighs a turn of an answer by {weight:g}, and "
                    f"objective `{self.name}` takes answers as they are: {row.excerpt(80)}",
                    hint="leave the weight out; 0 leaves a turn out of what is learnt",
                )
            if row.kind not in self.takes:
                taken = " and ".join(_KINDS[kind] for kind in sorted(self.takes))
                raise InvalidInput(
                    f"objective `{self.name}` learns from {taken}; row {row.number or index} is "
                    f"{_ONE[row.kind]}: {row.excerpt(80)}",
                    hint="set `data.format` (and that of `data.mix` and `data.replay`) or "
                    "`objective.kind`, so that they fit each other",
                )


def _odd_weight(row: Row) -> float | None:
    """A weight in one of its answers that says more than whether a turn is learnt."""
    weights = (turn.get("weight", 1.0) for answer in row.answers for turn in answer)
    return next((weight for weight in weights if weight not in (0.0, 1.0)), None)


_KINDS: Mapping[RowKind, str] = {
    "comparison": "comparisons of answers",
    "conversation": "conversations",
    "document": "plain text",
    "judged": "judged answers",
    "stepped": "answers in judged steps",
}
_ONE: Mapping[RowKind, str] = {
    "comparison": "a comparison of answers, all but the first of which would be ignored",
    "conversation": "a conversation of one answer",
    "document": "plain text",
    "judged": "a judged answer, whose judgement would be ignored",
    "stepped": "an answer in judged steps, whose judgements would be ignored",
}


def objective_of(manifest: Manifest) -> Objective:
    """The objective of a manifest, with its settings.

    Raises:
        InvalidInput: it cannot be loaded.
    """
    objective = OBJECTIVES.named(manifest.objective.kind).configured(manifest.objective)
    if manifest.train.label_smoothing:
        objective.smoothing = manifest.train.label_smoothing
    return objective


OBJECTIVES = Table("objectives", Objective)  # type: ignore[type-abstract]
