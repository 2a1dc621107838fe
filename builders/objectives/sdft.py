"""Self-distillation fine-tuning: the model that is shown a row's answer teaches the same model that
is not, on what the latter answers.

Supervised fine-tuning moves a model to somebody else's words, and away from all that it could do.
A model that has read a demonstration in its prompt is nearer to itself, and knows the new task;
its answers' distribution is what is learnt (Shenfeld et al. 2026). It works as far as a model
learns from its context at all, which small ones hardly do.

The teacher's weights follow the student's as an exponential moving average, `teacher_rate` a step:
a part of the training's state, and of no release.

What is left out of TRL's `SDFTTrainer`: the k likeliest tokens alone (here the whole vocabulary is
compared), tokens at the beginning that are not learnt, and answers of the
teacher.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

from adapterworks.builders.data.rows import Message, Row
from adapterworks.builders.objectives.distillation import Distillation, DistillationTable
from adapterworks.manifests.checking import Problem, check
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.values import Share

_QUESTION, _DEMONSTRATION = "{question}", "{demonstration}"
# The authors' own words.
TEMPLATE = (
    f"{_QUESTION}\n\nThis is an example for a response to the question:\n{_DEMONSTRATION}\n\n"
    "Now answer with a response of your own, including the thinking process."
)


class SdftTable(DistillationTable):
    """Self-distillation fine-tuning (Shenfeld et al. 2026)."""

    kind: Literal["sdft"]
    """The objective."""
    template: str = TEMPLATE
    """How the teacher is asked, instead of the row's last user turn: `{question}` is that turn, and
    `{demonstration}` the row's own answer."""
    teacher_rate: Share = 0.01
    """How far the teacher's weights go towards the student's after each step: 1 is the student as
    it is, 0 the student as it began."""


@check("objective")
def _template(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """The teacher is shown both."""
    table = manifest.objective
    assert isinstance(table, SdftTable)
    for slot in (_QUESTION, _DEMONSTRATION):
        if slot not in table.template:
            yield Problem(
                ("objective", "template"),
                f"there is no `{slot}` in it",
                "the teacher has to see the question and the answer that is learnt from",
            )


class Sdft(Distillation):
    """Σ over tokens of the divergence from the same model's distribution behind a demonstration."""

    name = "sdft"
    title = "self-distillation fine-tuning"
    source = "Shenfeld et al. 2026, arXiv:2601.19897"
    table = SdftTable
    checks = (*Distillation.checks, _template)

    def shown(self, row: Row) -> Row:
        """Its last user turn with its own answer as a demonstration.

        Raises:
            InvalidInput: it does not end with a user turn, or its answer has no text.
        """
        asked = row.context[-1]
        said = "\n".join(t["content"] for t in row.answers[0] if t["role"] == "assistant").strip()
        if asked["role"] != "user" or not said:
            who = "a row" if row.number is None else f"row {row.number}"
            raise InvalidInput(
                f"{who} has no question with an answer in words to show the teacher: "
                f"{row.excerpt(80)}",
                hint="`sdft` learns from answers to user turns; use `sft` for calls of tools",
            )
        filled = {_QUESTION: asked["content"], _DEMONSTRATION: said}
        slots = re.compile("|".join(map(re.escape, filled)))
        taught: Message = {
            **asked,
            "content": slots.sub(lambda slot: filled[slot[0]], self.settings.template),
        }
        return replace(row, messages=(*row.context[:-1], taught, *row.answers[0]))

    def held(self, trainable: int) -> int:
        """The teacher's own weights, unless they are the student's."""
        return 4 * trainable if self.settings.teacher_rate < 1 else 0


OBJECTIVE = Sdft()
