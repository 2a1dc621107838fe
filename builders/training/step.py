"""One optimizer step: micro batches, their gradients, clipping, the update.

Invariant: the gradient is that of the step's whole loss, Σ sum / Σ count over all its examples,
whichever micro batch or process they are in (not a mean of means).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from adapterworks.builders.methods.technique import Technique
from adapterworks.builders.objectives.objective import LOSS
from adapterworks.builders.plan.apart import rows_apart
from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.training.anchor import Anchor
from adapterworks.builders.training.arithmetic import learning_rate_at
from adapterworks.builders.training.batches import EncodedSet
from adapterworks.builders.training.forward import Forward, add, nothing
from adapterworks.builders.training.processes import shares, summed
from adapterworks.builders.training.sharding import clipped, is_part


@dataclass(frozen=True, slots=True)
class Step:
    """What a step came to: the objective's loss and metrics, each divided by the step's count."""

    rate: float
    loss: float
    norm: float
    tokens: int
    metrics: Mapping[str, float] = field(default_factory=dict)


class Stepper:
    """Takes the steps of one training.

    Args:
        plan: what to do.
        forward: how a micro batch is computed.
        technique: the method, for its regularizer and its hook.
        accelerator: processes, precision and clipping.
        optimizer: as `accelerate` prepared it.
        rows: the training examples.
        parameters: what is trained.
        anchor: what holds it where it began, if something does.
    """

    def __init__(
        self,
        plan: Plan,
        forward: Forward,
        technique: Technique[Any],
        accelerator: Any,
        optimizer: Any,
        rows: EncodedSet,
        parameters: Sequence[nn.Parameter],
        anchor: Anchor | None = None,
    ) -> None:
        self.plan, self.forward, self.technique = plan, forward, technique
        self.accelerator, self.optimizer = accelerator, optimizer
        self.rows, self.parameters, self.anchor = rows, [*parameters], anchor
        self.in_parts = any(is_part(parameter) for parameter in self.parameters)

    def take(self, indices: list[int], number: int, *, last: bool = True) -> Step:
        """Take step `number` (from 0) on the examples of these indices.

        Args:
            last: no other update of the same step follows.
        """
        table, rate = self.plan.manifest.train, self._rate(number)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("times", 1.0)
        total = sum(self.rows.counts[index] for index in indices)
        while True:
            sums = self._backward(indices, total)
            means = {name: summed(self.accelerator, sums[name]) / total for name in sorted(sums)}
            loss = means.pop(LOSS)
            norm = self._clipped(table.max_grad_norm)
            finite = math.isfinite(norm) and math.isfinite(loss)
            again = not finite and math.isfinite(loss) and self._lowered_scale()
            if finite:
                self.optimizer.step()
                if last:
                    self.technique.before_zero_grad(self.forward.bare, number + 1)
            self.optimizer.zero_grad(set_to_none=True)
            if not again:
                break
        tokens = sum(self.rows.lengths[index] for index in indices)
        return Step(rate, loss, norm, tokens, means)

    def _clipped(self, most: float) -> float:
        """The norm of all gradients, which are scaled to one of at most `most`."""
        if self.in_parts:
            return clipped(self.parameters, most)
        return float(self.accelerator.clip_grad_norm_(self.parameters, most))

    def _lowered_scale(self) -> bool:
        """Whether a gradient that is no number may be one at a smaller loss scale, which is set.

        In fp16 the loss is scaled so that small gradients are not lost, and a scale that was too
        large is what overflows (Micikevicius et al. 2018, §3.2). The examples are then computed
        once more, so that every one counts as declared; below a scale of 1 it is not the scale.
        """
        scaler = self.accelerator.scaler
        if scaler is None or scaler.get_scale() <= 1.0:
            return False
        self.optimizer.step()  # leaves the weights as they are; the scale is halved
        return True

    def take_each(self, parts: Sequence[list[int]], number: int) -> Step:
        """Take step `number` as several updates, one on each part; all but the tokens are means."""
        taken = [
            self.take(part, number, last=at == len(parts)) for at, part in enumerate(parts, start=1)
        ]
        if not taken:
            return self.idle(number)
        return Step(
            taken[0].rate,
            sum(one.loss for one in taken) / len(taken),
            sum(one.norm for one in taken) / len(taken),
            sum(one.tokens for one in taken),
            {
                name: sum(one.metrics[name] for one in taken) / len(taken)
                for name in taken[0].metrics
            },
        )

    def idle(self, number: int) -> Step:
        """Step `number` without anything to learn: nothing moves but the schedule, the method's
        own included."""
        self.technique.before_zero_grad(self.forward.bare, number + 1)
        return Step(self._rate(number), 0.0, 0.0, 0)

    def _rate(self, number: int) -> float:
        plan, train = self.plan, self.plan.manifest.train
        return learning_rate_at(
            number,
            plan.steps,
            plan.learning_rate,
            plan.warmup_steps,
            train.schedule,
            train.learning_rate_floor,
            train.decay_ratio,
        )

    def _backward(self, indices: list[int], total: float) -> dict[str, float]:
        """Add up the gradients of this process's micro batches; returns the sums."""
        packing = self.plan.manifest.train.packing
        processes = self.accelerator.num_processes
        size = self.plan.micro_batch if self.forward.shares_prefix else rows_apart(self.plan)
        found = self.forward.beforehand(self.rows, indices, size, self.accelerator)
        micros, own = shares(indices, size, self.accelerator)
        sums: dict[str, float] = {}
        for number, micro in enumerate(micros):
            with self._gradients_stay_here(number + 1 < len(micros)):
                loss = self.forward.loss(self.rows, micro, packing=packing, beforehand=found)
                if number >= own:
                    loss = nothing(loss)
                add(sums, loss)
                scaled = loss.sum * processes / total
                regularizer = self.technique.extra_loss(self.forward.bare)
                if self.anchor is not None:
                    held = self.anchor.penalty()
                    told = float(held.detach()) * loss.count
                    sums["anchor"] = sums.get("anchor", 0.0) + told
                    regularizer = held if regularizer is None else regularizer + held
                if regularizer is not None:
                    scaled = scaled + regularizer * (loss.count * processes / total)
                self.accelerator.backward(scaled)
        return sums

    def _gradients_stay_here(self, more: bool) -> AbstractContextManager[Any]:
        """Gradients are summed over processes once a step, at its last micro batch; those in parts
        at each, or every process would hold whole ones until then."""
        if not more or self.accelerator.num_processes == 1 or self.in_parts:
            return nullcontext()
        waiting: AbstractContextManager[Any] = self.accelerator.no_sync(self.forward.model)
        return waiting
