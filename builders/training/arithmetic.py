"""The arithmetic of training: learning rate, divergence. No state but what is passed in."""

from __future__ import annotations

import math
from collections.abc import Callable

from adapterworks.builders.schedules import SCHEDULES


def learning_rate_at(
    step: int,
    steps: int,
    peak: float,
    warmup: int,
    schedule: str,
    floor: float = 0.0,
    decay_ratio: float = 0.2,
) -> float:
    """The learning rate of optimizer step `step` (from 0): linear warm-up, then the schedule.

    Args:
        floor: where it ends, as a share of the peak.
        decay_ratio: of the steps after warm-up, for schedules that read it.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * (floor + (1 - floor) * SCHEDULES[schedule].fall(progress, decay_ratio))


class Divergence:
    """Watches the training loss; `message` says why to stop, or is None.

    Args:
        bound: the objective's `diverged_above`: where the loss began → the smoothed loss from which
            the training has diverged.
        first: the first losses, of a training that is continued.
        smoothed: its smoothed loss.
    """

    _FIRST = 5
    _DECAY = 0.8

    def __init__(
        self,
        bound: Callable[[float], float],
        first: list[float] | None = None,
        smoothed: float | None = None,
    ) -> None:
        self.bound = bound
        self.first = first or []
        self.smoothed = smoothed

    def message(self, loss: float, gradient_norm: float) -> str | None:
        """Take in one step's loss and gradient norm."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not math.isfinite(gradient_norm):
            return f"the gradient norm is {gradient_norm}"
        if len(self.first) < self._FIRST:
            self.first.append(loss)
        before = loss if self.smoothed is None else self.smoothed
        self.smoothed = self._DECAY * before + (1 - self._DECAY) * loss
        start = sum(self.first) / len(self.first)
        if len(self.first) == self._FIRST and self.smoothed > self.bound(start):
            return f"the loss rose from {start:.3g} to {self.smoothed:.3g}"
        return None
