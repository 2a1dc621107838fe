"""Distillation from a teacher: a release, the base with another system prompt, or another base with
the same tokenizer.

The teacher is no second model in memory where it is an adapter of the policy's base: it stands in
the policy's place while it is asked, once a step. What it is asked for are its last hidden states;
logits are made of them where the student's are, a few positions at a time
(`training/projection.py`).

What is left out: teachers with another tokenizer (TRL's GOLD), and their log-probabilities from an
endpoint, which has no whole distribution to give.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

from adapterworks.builders.data.rows import Message, Row
from adapterworks.builders.methods.technique import Lint
from adapterworks.builders.objectives.distillation import Distillation, DistillationTable
from adapterworks.manifests.checking import Problem, check, is_written
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.objective import BASE
from adapterworks.manifests.refs import parse_ref
from adapterworks.manifests.sources import FileSource, parse_base
from adapterworks.manifests.values import Share


class DistillTable(DistillationTable):
    """Distillation from a teacher (Hinton et al. 2015), on the student's own answers (Agarwal et
    al. 2023)."""

    kind: Literal["distill"]
    """The objective."""
    teacher: str | None = None
    """Who teaches: a release, or `base`, the policy's own base without any adapter."""
    teacher_base: str | None = None
    """Another base that teaches, as it is: a name known to `adapters base list` or
    `hub:org/name@revision`, with the same tokenizer. It is in memory beside the policy's."""
    teacher_system: str | None = None
    """A system message for the teacher alone, in place of the row's: what it says under it, the
    student learns to say without."""
    lmbda: Share = 1.0
    """Share of the rows whose answers are sampled (λ of Agarwal et al. 2023); of the others the
    row's own answer is learnt from."""


@check("objective", "start")
def _teacher(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """There is one teacher, and it is not the student."""
    table = manifest.objective
    assert isinstance(table, DistillTable)
    if (table.teacher is None) == (table.teacher_base is None):
        yield Problem(
            ("objective", "teacher"),
            "nothing says who teaches" if table.teacher is None else "there are two teachers",
            'name a release, `teacher = "NAME@1"`, or another base, `teacher_base = "NAME"`',
        )
        return
    same = table.teacher == BASE and manifest.start is None
    if same and table.teacher_system is None:
        yield Problem(
            ("objective", "teacher"),
            "the student begins as the base, which has nothing to teach it",
            "give it a `teacher_system` that the student does not have, or name a release",
        )
    try:
        if table.teacher not in (None, BASE):
            parse_ref(table.teacher)
        if table.teacher_base is not None and isinstance(
            parse_base(table.teacher_base), FileSource
        ):
            yield Problem(
                ("objective", "teacher_base"),
                f"`{table.teacher_base}` is a folder, and a release would not say whose",
                "give it a name: `adapters base add NAME FOLDER`",
            )
    except InvalidInput as error:
        key = "teacher" if table.teacher is not None else "teacher_base"
        yield Problem(("objective", key), error.message, error.hint or "")
    yield from _unread(table, written)


def _unread(table: DistillTable, written: dict[str, Any]) -> Iterator[Problem]:
    if table.lmbda:
        return
    for key in ("generations", "max_completion", "engine", "alarms"):
        if is_written(written, "objective", key):
            yield Problem(
                ("objective", key),
                "with `lmbda = 0` nothing is sampled",
                "remove it, or sample a share of the answers",
            )


class Distill(Distillation):
    """Σ over tokens of the divergence from a teacher's distribution, in nats."""

    name = "distill"
    title = "distillation"
    source = "Agarwal et al. 2023, arXiv:2306.13649"
    table = DistillTable
    checks = (*Distillation.checks, _teacher)

    def shown(self, row: Row) -> Row:
        """With the teacher's system message, where it has one."""
        if self.settings.teacher_system is None:
            return row
        said: Message = {"role": "system", "content": self.settings.teacher_system}
        own = [turn for turn in row.messages if turn["role"] != "system"]
        return replace(row, messages=(said, *own))

    def lints(self, manifest: Manifest) -> list[Lint]:
        table = manifest.objective
        assert isinstance(table, DistillTable)
        if table.beta or table.lmbda < 1:
            return []
        return [
            Lint(
                "objective.beta",
                "KL(teacher‖student) on the student's answers asks for words that it does not "
                "say there",
                "Agarwal et al. 2023, §4; Gu et al. 2023 (MiniLLM, arXiv:2306.08543): reverse KL",
            )
        ]


OBJECTIVE = Distill()
