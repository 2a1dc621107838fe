"""Half a cosine: slow at both ends."""

from __future__ import annotations

import math

from adapterworks.builders.schedules.schedule import Schedule


def _fall(progress: float, decay_ratio: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress))


SCHEDULE = Schedule("cosine", "Half a cosine", "Loshchilov & Hutter 2016, arXiv:1608.03983", _fall)
