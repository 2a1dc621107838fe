"""From examples to their loss: the layout of a micro batch, the model, the objective.

Invariant: the loss does not depend on the layout, nor on how a step is cut into micro batches; what
an objective counts is what its examples said when they were encoded, which is checked here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from adapterworks.builders.objectives.batch import (
    Batch,
    TokenSequence,
    behind_shared,
    packed,
    packed_rows,
    padded,
)
from adapterworks.builders.objectives.objective import LOSS, Loss, Objective
from adapterworks.builders.objectives.scores import Scores
from adapterworks.builders.objectives.scoring import (
    Critic,
    Projection,
    TeacherLoss,
    score,
    score_behind_shared,
    with_adapter,
    without_method,
)
from adapterworks.builders.training.batches import EncodedSet
from adapterworks.builders.training.processes import shares, summed
from adapterworks.builders.training.state import load_trainable, trainable_tensors
from adapterworks.manifests.errors import Refused
from adapterworks.manifests.objective import BASE


@dataclass
class Forward:
    """How a micro batch is computed.

    Attributes:
        objective: what its scores come to.
        model: as `accelerate` prepared it.
        bare: the same, not wrapped: a soft prompt's cache goes past what wraps the model.
        soft_prompt: the method adds virtual tokens in front of the sequence.
        virtual_tokens: embeddings in front of the logits, else 0.
        pad: the token id that padding is filled with.
        shares_prefix: what sequences begin with is computed once a micro batch.
        side_by_side: examples of several sequences that are packed stand side by side, each a row.
        critic: the value head, where the objective has one.
        projection: the model's output projection, a few positions at a time; None where it has to
            compute all logits of a micro batch together.
        beside: the teacher, where the objective has one.
        has_method: False while the method is switched off.
        began: what is trained as it was before the first step, where that is the reference and is
            asked for later on (`keep_start`).
    """

    objective: Objective
    model: nn.Module
    bare: nn.Module
    soft_prompt: bool
    virtual_tokens: int
    pad: int
    shares_prefix: bool = False
    side_by_side: bool = False
    critic: Critic | None = None
    projection: Projection | None = None
    beside: TeacherLoss | None = None
    has_method: bool = field(default=True, init=False)
    began: dict[str, torch.Tensor] | None = field(default=None, init=False)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.bare.parameters()).device

    @property
    def scores_behind(self) -> bool:
        """Whether what sequences begin with can be computed once without a gradient, too: a soft
        prompt would stand before it with the method switched off."""
        return self.shares_prefix and not self.soft_prompt

    def scores(
        self,
        rows: EncodedSet,
        indices: Sequence[int],
        *,
        packing: bool,
        batch: Callable[..., Batch] | None = None,
    ) -> Scores:
        """What the model says of some examples.

        Args:
            batch: which of their sequences; those that are learnt from, if not given.
        """
        examples = rows.chosen(indices)
        asked: dict[str, Any] = {
            "uniform": self.objective.smoothing > 0,
            "critic": self.critic,
            "projection": self.projection,
            "beside": self.beside,
        }
        chosen = batch or self.objective.batch
        if self.shares_prefix:
            made = chosen(examples, behind_shared).to(self.device)
            model = self.bare if self.soft_prompt else self.model
            return score_behind_shared(model, made, **asked)
        layout = packed if packing else partial(padded, pad=self.pad)
        if packing and self.side_by_side:
            layout = partial(packed_rows, sizes=[len(one) for one in examples], pad=self.pad)
        made = chosen(examples, layout).to(self.device)
        return score(self.model, made, self.virtual_tokens, **asked)

    def beforehand(
        self, rows: EncodedSet, indices: list[int], micro_batch: int, accelerator: Any = None
    ) -> dict[str, float]:
        """What the objective asks of all examples of a step before its losses, without a gradient;
        empty where it asks nothing.

        Args:
            accelerator: whose processes each compute a share; this one alone if not given.
        """
        if not self.objective.looks_ahead:
            return {}
        training = self.model.training
        self.model.eval()
        micros, own = chunks(indices, micro_batch), len(indices)
        if accelerator is not None:
            micros, own = shares(indices, micro_batch, accelerator)
        sums: dict[str, float] = {}
        with torch.no_grad():
            for number, micro in enumerate(micros):
                batch = self.objective.batch_beforehand
                scores = self.scores(rows, micro, packing=False, batch=batch)
                for name, value in self.objective.beforehand(scores).items():
                    sums[name] = sums.get(name, 0.0) + (float(value) if number < own else 0.0)
        self.model.train(training)
        if accelerator is not None:
            sums = {name: summed(accelerator, sums[name]) for name in sorted(sums)}
        return {name: value / len(indices) for name, value in sums.items()}

    def plain_scores(self, sequences: Sequence[TokenSequence], *, behind: bool = False) -> Scores:
        """What the model says as it is, without a gradient; side by side.

        Args:
            behind: what they begin with, which `scores_behind` allows.
        """
        asked: dict[str, Any] = {"critic": self.critic, "projection": self.projection}
        if behind:
            with torch.no_grad():
                return score_behind_shared(
                    self.model, behind_shared(sequences).to(self.device), **asked
                )
        virtual = self.virtual_tokens if self.has_method else 0
        made = padded(sequences, self.pad).to(self.device)
        with torch.no_grad():
            return score(self.model, made, virtual, **asked)

    def keep_start(self) -> None:
        """Remember what is trained as it is now, before the first step."""
        self.began = {name: one.clone() for name, one in trainable_tensors(self.bare).items()}

    @contextmanager
    def reference_policy(self, reference: str, folder: Path | None) -> Iterator[None]:
        """The model as the reference policy: `base` without the method, the adapter in `folder`, or
        without one the start: as `keep_start` saw it, else as it is, before the first step."""
        if folder is not None:
            with with_adapter(self.bare, folder):
                yield
        elif self.began is not None:
            now = {name: one.clone() for name, one in trainable_tensors(self.bare).items()}
            load_trainable(self.bare, self.began)
            try:
                yield
            finally:
                load_trainable(self.bare, now)
        elif reference == BASE:
            self.has_method = False
            try:
                with without_method(self.bare):
                    yield
            finally:
                self.has_method = True
        else:
            yield

    def measured(
        self, rows: EncodedSet, micro_batch: int, accelerator: Any = None
    ) -> dict[str, float]:
        """Loss and metrics over all examples, without a gradient and without dropout.

        Args:
            accelerator: whose processes each compute a share; this one alone if not given.
        """
        self.model.eval()
        sums: dict[str, float] = {}
        order = sorted(range(len(rows)), key=lambda index: rows.lengths[index])
        found = self.beforehand(rows, order, micro_batch, accelerator)
        micros, own = chunks(order, micro_batch), len(rows)
        if accelerator is not None:
            micros, own = shares(order, micro_batch, accelerator)
        with torch.no_grad():
            for number, micro in enumerate(micros):
                loss = self.loss(rows, micro, packing=False, beforehand=found)
                add(sums, loss if number < own else nothing(loss))
        self.model.train()
        if accelerator is not None:
            sums = {name: summed(accelerator, sums[name]) for name in sorted(sums)}
        return {name: value / sum(rows.counts) for name, value in sums.items()}

    def loss(
        self,
        rows: EncodedSet,
        indices: Sequence[int],
        *,
        packing: bool,
        beforehand: Mapping[str, float] | None = None,
    ) -> Loss:
        """The loss of a micro batch, with its gradient.

        Args:
            beforehand: what `beforehand` found for the step.

        Raises:
            Refused: the objective counts something else than its examples said.
        """
        scores = self.scores(rows, indices, packing=packing)
        scores = replace(scores, beforehand=beforehand or {})
        loss = self.objective.losses(scores)
        expected = sum(rows.counts[index] for index in indices)
        if not math.isclose(loss.count, expected, rel_tol=1e-4):
            raise Refused(
                f"objective `{self.objective.name}` counts {loss.count:g} in a micro batch whose "
                f"examples were encoded to count {expected:g}",
                hint="`losses` must give the sum of its examples' `count`, or the gradient would "
                "depend on the micro batch",
            )
        return loss


def nothing(loss: Loss) -> Loss:
    """The same with its graph, counting nothing."""
    return Loss(loss.sum * 0.0, 0.0, {name: v * 0.0 for name, v in loss.metrics.items()})


def add(sums: dict[str, float], loss: Loss) -> None:
    """Add a micro batch's loss and metrics to the sums, by name."""
    for name, value in {**loss.metrics, LOSS: loss.sum}.items():
        sums[name] = sums.get(name, 0.0) + float(value.detach())


def chunks(indices: list[int], size: int) -> list[list[int]]:
    """The indices in pieces of at most `size`."""
    return [indices[start : start + size] for start in range(0, len(indices), size)]
