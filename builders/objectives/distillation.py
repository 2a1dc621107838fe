"""What the objectives with a teacher share: each token's distribution is drawn to the teacher's.

Generalized knowledge distillation (Agarwal et al. 2023, arXiv:2306.13649): the student answers, and
at every token of its answer its whole distribution is compared with the one that the teacher has
after the same tokens. What the student does wrong the teacher sees, and says what comes next there;
of answers that somebody else wrote it would say so in places where the student never is.

Invariant: an example has two sequences: the prompt as the student sees it and as the teacher does,
each with the row's own answer, of which the labelled tokens are the same. No gradient goes through
what was drawn, nor through the teacher.

What is left out of TRL's `GKDTrainer`: a temperature, answers of the teacher (`seq_kd`; they are
rows for `sft`), and a language-model loss beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from adapterworks.builders.data.render import IGNORED, Encoded, LossOn
from adapterworks.builders.data.rows import Row
from adapterworks.builders.methods.technique import Default
from adapterworks.builders.objectives.examples import Example, encode_answers, encode_prompts
from adapterworks.builders.objectives.objective import Loss
from adapterworks.builders.objectives.sampled import Sampled, SampleTable
from adapterworks.builders.objectives.scores import Scores
from adapterworks.manifests.checking import Problem, check
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.values import Share

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

# A teacher's prompt is never cut: the base's positions are what it has to fit into.
_UNCUT = 2**20


class DistillationTable(SampleTable):
    """What every objective with a teacher can be told."""

    beta: Share = 1.0
    """The divergence: 1 is KL(student‖teacher), which a student of few words can bring to nothing;
    0 KL(teacher‖student), which asks for all of the teacher's; between them the generalized
    Jensen–Shannon divergence (Agarwal et al. 2023, eq. 1)."""
    generations: Annotated[int, Field(ge=1, le=256)] = 1
    """Answers sampled to each prompt."""

    @property
    def learns_answers(self) -> bool:
        """Those of rows whose answers are not sampled."""
        return float(getattr(self, "lmbda", 1.0)) < 1


@check("objective")
def _unread(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """Alarms of what is not measured."""
    if "kl" in (written.get("objective", {}).get("alarms") or {}):
        yield Problem(
            ("objective", "alarms", "kl"),
            "there is no reference to be far from: the loss is the distance from the teacher",
            "remove it",
        )


class Distillation(Sampled):
    """Σ over tokens of the divergence from the teacher, in nats."""

    unit = "nats a token"
    table: type[DistillationTable] = DistillationTable
    taught = True
    checks = (*Sampled.checks, _unread)
    wrong = "which a student does that its teacher leads nowhere"
    learning_rate = Default(
        0.5,
        "1e-4 beside 2e-4 for LoRA: Tinker's recipes/distillation/README.md has 1e-4 for on-policy "
        "distillation",
    )

    def shown(self, row: Row) -> Row:
        """The row as the teacher sees it.

        Raises:
            InvalidInput: it cannot be shown so.
        """
        return row

    @property
    def on_policy(self) -> float:
        """The share of rows whose answers are sampled; of the others the row's own is learnt."""
        return float(getattr(self.settings, "lmbda", 1.0))

    def encode(
        self,
        tokenizer: PreTrainedTokenizerBase,
        rows: Sequence[Row],
        max_length: int,
        loss_on: LossOn,
    ) -> list[Example]:
        """Two sequences a row: the student's and the teacher's.

        Raises:
            InvalidInput: a row cannot be shown to the teacher.
        """
        taught = [self.shown(row) for row in rows]
        if self.on_policy == 1:  # no row's own answer is learnt, and none takes room
            own = encode_prompts(tokenizer, rows, max_length)
            theirs = encode_prompts(tokenizer, taught, _UNCUT)
        else:
            own = [one for (one,) in encode_answers(tokenizer, rows, max_length, 1)]
            theirs = [one for (one,) in encode_answers(tokenizer, taught, _UNCUT, 1)]
        return [
            Example((student, _as_long(student, teacher, row)), 1.0)
            for student, teacher, row in zip(own, theirs, rows, strict=True)
        ]

    def planned_supervised(self, example: Example) -> int:
        """The longest answer that may be sampled, or the row's own where that is learnt."""
        most = int(self.settings.max_completion)
        own = Example(example.sequences[:1], example.count).supervised
        return most if self.on_policy == 1 else max(own, most if self.on_policy else 0)

    def planned_longest(self, example: Example) -> int:
        """As the teacher sees it."""
        prompts = (
            next(place for place, label in enumerate(one.labels) if label != IGNORED)
            for one in example.sequences
        )
        return max(prompts) + self.planned_supervised(example)

    def count(self, tokens: int) -> float:
        return float(tokens)

    def apart(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """[places, vocabulary] logits of both → [places] nats. Pure.

        Of two models with one tokenizer the larger may have rows of its vocabulary that no token
        has; they are left out of both.
        """
        known = min(student.shape[-1], teacher.shape[-1])
        return generalized_jsd(
            student[:, :known].log_softmax(-1),
            teacher[:, :known].log_softmax(-1),
            self.settings.beta,
        )

    def losses(self, scores: Scores) -> Loss:
        """Sum: nats over tokens. Metrics: entropy (sampled: nats a token)."""
        assert scores.apart is not None
        metrics = {"entropy": -scores.logprobs.detach().sum()}
        return Loss(scores.apart.sum(), float(len(scores.apart)), metrics)


def generalized_jsd(student: torch.Tensor, teacher: torch.Tensor, beta: float) -> torch.Tensor:
    """[places, vocabulary] log-probabilities of both → [places] nats.

    β·KL(teacher‖M) + (1 − β)·KL(student‖M) with M = β·teacher + (1 − β)·student; at 0
    KL(teacher‖student) and at 1 KL(student‖teacher), to which it tends over β·(1 − β).
    """
    import torch

    if beta == 0:
        return _kl(teacher, student)
    if beta == 1:
        return _kl(student, teacher)
    mixture = torch.logaddexp(student + math.log1p(-beta), teacher + math.log(beta))
    return beta * _kl(teacher, mixture) + (1 - beta) * _kl(student, mixture)


def _kl(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """KL(one‖other) of log-probabilities, over the last dimension."""
    return (one.exp() * (one - other)).sum(-1)


def _as_long(student: Encoded, teacher: Encoded, row: Row) -> Encoded:
    """The teacher's sequence up to the last token that the student's has a label of.

    Raises:
        InvalidInput: their labelled tokens differ.
    """
    wanted = [label for label in student.labels if label != IGNORED]
    places = [place for place, label in enumerate(teacher.labels) if label != IGNORED]
    if [teacher.labels[place] for place in places[: len(wanted)]] != wanted:
        where = f"row {row.number}" if row.number is not None else "a row"
        raise InvalidInput(
            f"the answer of {where} has other tokens behind the teacher's prompt than behind the "
            f"student's, so they cannot be compared: {row.excerpt(80)}",
            hint="a template that writes answers differently after other turns cannot be used here",
        )
    end = places[len(wanted) - 1] + 1
    return replace(teacher, input_ids=teacher.input_ids[:end], labels=teacher.labels[:end])
