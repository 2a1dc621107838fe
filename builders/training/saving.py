"""When a checkpoint is due between evaluations: so much and no more is lost by a kill.

Invariant: all processes save at the same step, whatever their clocks say.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from adapterworks.builders.training.processes import summed


class Saving:
    """Counts since the last checkpoint.

    Args:
        every: `train.save_every`: "N steps" or "N minutes".
        clock: seconds.
    """

    def __init__(self, every: str, clock: Callable[[], float] = time.monotonic) -> None:
        number, _, unit = every.partition(" ")
        self.number, self.in_steps, self.clock = int(number), unit == "steps", clock
        self.steps, self.since = 0, clock()

    def due(self, accelerator: Any) -> bool:
        """Whether to save after this step; asked once a step."""
        self.steps += 1
        if self.in_steps:
            return self.steps >= self.number
        late = self.clock() - self.since >= 60 * self.number
        # The first process's clock counts.
        return summed(accelerator, float(late and accelerator.is_main_process)) > 0

    def done(self) -> None:
        """A checkpoint has been written."""
        self.steps, self.since = 0, self.clock()
