"""A straight line."""

from __future__ import annotations

from adapterworks.builders.schedules.schedule import Schedule


def _fall(progress: float, decay_ratio: float) -> float:
    return 1 - progress


SCHEDULE = Schedule("linear", "A straight line", "Devlin et al. 2018, arXiv:1810.04805, A.2", _fall)
