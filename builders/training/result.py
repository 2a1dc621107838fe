"""What a training came to: `result.json`, and the report's `training`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class TrainResult:
    """What a training came to.

    Attributes:
        best_value: what the objective reports of the validation rows at `best_step`, in `unit`;
            None without validation rows.
        reported: what that is: `loss`, or one of the objective's metrics.
        train_loss: the last step's loss.
        peak_memory: in bytes.
        beginning: how policy and reference compared before the first step (`Beginning`), where the
            objective has a reference.
        alarms: those that rang, of an objective that samples (`objectives/alarms.py`).
        deterministic: it took deterministic kernels alone (`train.deterministic`).
    """

    steps: int
    best_step: int
    best_value: float | None
    reported: str
    unit: str
    train_loss: float
    tokens_per_second: float
    seconds: float
    peak_memory: int
    stopped_early: bool
    beginning: Mapping[str, Any] | None = None
    alarms: Sequence[Mapping[str, Any]] = field(default_factory=list)
    deterministic: bool = False
