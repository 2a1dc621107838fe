"""What a build works on: a plan, and everything the plan was made from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from adapterworks.builders.building.encode import sequences_of
from adapterworks.builders.building.origins import FoundOrigins
from adapterworks.builders.data.gates.run import GateResults
from adapterworks.builders.data.render import Encoded
from adapterworks.builders.data.rows import Row
from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.objectives.examples import Example
from adapterworks.builders.plan.origins import Origins
from adapterworks.builders.plan.plan import Plan
from adapterworks.registry.bases.base import Base

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from adapterworks.builders.training.job import Job


@dataclass(frozen=True)
class Prepared:
    """A plan with what it was made from.

    Attributes:
        rows: by split, `train`, `validation` and `test`, as the data gates left them.
        encoded: examples by split, of training and validation rows; under `ANCHOR`, of rows that
            were learnt before, where `train.anchor` keeps them from being forgotten.
        sources: the datasheet of each source of rows, as `adapter.lock` has it.
        gates: what the data gates found.
        accelerate: path of accelerate's configuration on this machine; None without one.
        begun: the releases that the training begins from and is held near.
    """

    plan: Plan
    base: Base
    shape: BaseShape
    tokenizer: PreTrainedTokenizerBase
    rows: dict[str, Sequence[Row]]
    encoded: dict[str, Sequence[Example]]
    sources: list[dict[str, Any]]
    gates: GateResults
    accelerate: str | None = None
    begun: FoundOrigins = field(default_factory=lambda: FoundOrigins(Origins()))

    def sequences(self, split: str, most: int | None = None) -> list[Encoded]:
        """The sequences of a split's examples in order; of its first `most` examples, if given."""
        return [*sequences_of(self.encoded[split][:most])]

    def job(self, *, plan: Plan | None = None, until: int | None = None) -> Job:
        """What the training process is given.

        Args:
            plan: another than the prepared one.
            until: stop at this step.
        """
        from adapterworks.builders.training.job import Job

        technique = METHODS[self.plan.manifest.method.kind]
        begun = self.begun
        start, reference, reward = begun.start, begun.reference, begun.reward
        # A whole model is loaded from where it is continued; an adapter is put on the base.
        whole = technique.whole_model and start is not None
        return Job(
            plan=plan or self.plan,
            checkpoint=str(start if whole else technique.checkpoint(self.base)),
            pad=self.pad,
            parent=os.getpid(),
            until=until,
            accelerate=self.accelerate,
            start=None if start is None or whole else str(start),
            reference=None if reference is None else str(reference),
            reward=None if reward is None else str(reward),
            separator=begun.separator,
            teacher=None if begun.teacher is None else str(begun.teacher),
            teacher_model=None if begun.teacher_model is None else str(begun.teacher_model),
        )

    @property
    def pad(self) -> int:
        """The id that padding is filled with; it is masked, so any will do."""
        for token in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id):
            if token is not None:
                return int(token)
        return 0
