"""No fall at all."""

from __future__ import annotations

from adapterworks.builders.schedules.schedule import Schedule


def _fall(progress: float, decay_ratio: float) -> float:
    return 1.0


SCHEDULE = Schedule("constant", "No fall", "Dettmers et al. 2023, §B.2", _fall, falls=False)
