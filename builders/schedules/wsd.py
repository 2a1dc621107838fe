"""Warm-up, stable, decay: the peak for most of the training, then a fall by 1 − √progress.

Hägele et al. 2024 (arXiv:2405.18392) find that form best and a fifth of the steps enough; Hu et al.
2024 (MiniCPM, arXiv:2404.06395) named it. It is transformers' `warmup_stable_decay` with
`decay_type="1-sqrt"`.
"""

from __future__ import annotations

import math

from adapterworks.builders.schedules.schedule import Schedule


def _fall(progress: float, decay_ratio: float) -> float:
    begins = 1 - decay_ratio
    if progress < begins or not decay_ratio:
        return 1.0
    return 1 - math.sqrt((progress - begins) / decay_ratio)


SCHEDULE = Schedule(
    "wsd", "Warm-up, stable, decay", "Hägele et al. 2024, arXiv:2405.18392", _fall, decays=True
)
