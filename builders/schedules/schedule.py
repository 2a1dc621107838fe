"""What a schedule is to the rest of the build: one function of how far the training has come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """One schedule.

    Attributes:
        name: what `train.schedule` says.
        title: its name in the literature.
        source: the paper.
        fall: (share of the steps after warm-up that are done, from 0 to 1; `train.decay_ratio`) →
            how much of the way from the peak down to the floor is left, from 1 to 0.
        decays: it reads `train.decay_ratio`.
        falls: it ends at the floor.
    """

    name: str
    title: str
    source: str
    fall: Callable[[float, float], float]
    decays: bool = False
    falls: bool = True
