"""Answers that a teacher is asked about: prompts → samples → the teacher's states → examples.

Invariant: student and teacher are asked of the very same tokens, behind their own prompts; which
rows are answered by the student, and which have their own answer, follows from seed and step.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from adapterworks.builders.data.render import IGNORED
from adapterworks.builders.data.rows import Row
from adapterworks.builders.objectives.batch import TEACHER, TokenSequence
from adapterworks.builders.objectives.distillation import Distillation
from adapterworks.builders.objectives.objective import LOSS
from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.training.batches import EncodedSet
from adapterworks.builders.training.checkpoint import Companion
from adapterworks.builders.training.forward import Forward, chunks
from adapterworks.builders.training.samplers import Sample, Sampler
from adapterworks.builders.training.sampling import (
    Collected,
    Sampling,
    learnt,
    prompt_of,
    sequence_of,
    told_of,
    with_columns,
)
from adapterworks.builders.training.teacher import Average, Teacher

Pair = tuple[TokenSequence, TokenSequence]


class Distilled(Sampling):
    """Samples and examples of one training that has a teacher.

    Args:
        teacher: who is asked about them.
    """

    def __init__(
        self,
        plan: Plan,
        objective: Distillation,
        forward: Forward,
        sampler: Sampler,
        tokenizer: Any,
        rows: dict[str, list[Row]],
        folder: Path,
        teacher: Teacher,
    ) -> None:
        super().__init__(plan, objective, forward, sampler, tokenizer, rows, folder)
        self.share, self.teacher = objective.on_policy, teacher

    def collect(self, examples: EncodedSet, indices: Sequence[int], step: int) -> Collected:
        seed = self.seed(step)
        drawn = torch.rand(len(indices), generator=torch.Generator().manual_seed(seed))
        sampled = (drawn < self.share).tolist()
        asked = [index for index, own in zip(indices, sampled, strict=True) if own]
        own = [index for index in indices if index not in asked]
        pairs = [_bare(example) for example in examples.chosen(own)]
        metrics = {"sampled": len(asked) / len(indices)}
        if asked:
            table = self.objective.settings
            seeds = self.seeds(asked, step)
            groups = self._sampled(examples, asked, table.generations, seeds)
            self._tell(step, asked, groups, [{} for _ in asked])
            answered = _pairs(examples, asked, groups)
            _, mismatch = self._agreed([student for student, _ in answered])
            metrics |= {**told_of(groups), **self.sampler.told, "mismatch": mismatch}
            pairs = [_bare(pair) for pair in answered] + pairs
        return Collected(self._taught(pairs), metrics)

    def measured(self, examples: EncodedSet) -> dict[str, float]:
        """The divergence on the likeliest answers to the validation prompts; on the rows' own where
        nothing is sampled."""
        indices = [*range(len(examples))]
        if not self.share:
            pairs = [_bare(example) for example in examples.chosen(indices)]
        else:
            groups = self._sampled(examples, indices, 1, None)
            pairs = [_bare(pair) for pair in _pairs(examples, indices, groups)]
        pairs.sort(key=lambda pair: len(pair[0].input_ids))
        total = count = 0.0
        for some in chunks([*range(len(pairs))], self._at_once):
            rows = self._taught([pairs[index] for index in some])
            own = sum(rows.counts)
            total += self.forward.measured(rows, self.plan.micro_batch)[LOSS] * own
            count += own
        return {LOSS: total / count}

    def stepped(self) -> None:
        self.teacher.stepped()

    @property
    def companion(self) -> Companion | None:
        return self.teacher if isinstance(self.teacher, Average) and self.teacher.weights else None

    @property
    def _at_once(self) -> int:
        """Rows whose states of the teacher are in memory together: as many as a step's."""
        micro = self.plan.micro_batch
        return micro * -(-self.plan.manifest.train.batch_size // micro)

    def _sampled(
        self,
        examples: EncodedSet,
        indices: Sequence[int],
        count: int,
        seeds: Sequence[int] | None,
    ) -> list[list[Sample]]:
        most, size = self.objective.settings.max_completion, self.together(count)
        prompts = [prompt_of(example[0]) for example in examples.chosen(indices)]
        found: list[list[Sample]] = []
        for start in range(0, len(prompts), size):
            some = slice(start, start + size)
            own = None if seeds is None else seeds[some]
            found += self.sampler.sample(prompts[some], count, most, own)
        return found

    def _taught(self, pairs: Sequence[Pair]) -> EncodedSet:
        """The students' sequences with the teacher's state before each labelled token."""
        found = []
        asked = self.teacher.states([teacher for _, teacher in pairs])
        for (student, _), states in zip(pairs, asked, strict=True):
            column = torch.zeros(len(student.labels), states.shape[1])
            column[student.labels != IGNORED] = states
            found.append((with_columns(student, {TEACHER: column}),))
        return EncodedSet(tuple(found), tuple(float(learnt(one)) for (one,) in found))


def _pairs(
    examples: EncodedSet, indices: Sequence[int], groups: Sequence[Sequence[Sample]]
) -> list[Pair]:
    """Each answer behind the student's prompt and behind the teacher's."""
    return [
        (sequence_of(prompt_of(student), sample), sequence_of(prompt_of(teacher), sample))
        for (student, teacher), group in zip(examples.chosen(indices), groups, strict=True)
        for sample in group
    ]


def _bare(pair: Sequence[TokenSequence]) -> Pair:
    """Both sequences without columns, which sampled answers have and others have not."""
    student, teacher = (TokenSequence(one.input_ids, one.labels) for one in pair)
    return student, teacher
