"""Which function runs a job of which kind: a closed table."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from adapterworks.app import App
from adapterworks.registry.jobs.job import DETACHED, FINE_TUNING, Claim, Job, Outcome
from adapterworks.workers import detached, fine_tuning

Run = Callable[[App, Job, Claim], Outcome]

KINDS: Mapping[str, Run] = {FINE_TUNING: fine_tuning.run, DETACHED: detached.run}
