"""A short training that tells a plan its time: three steps, of which the first warms up.

Invariant: it uses the plan's own rows, batch and method, in a process of its own, and leaves
nothing behind.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from adapterworks.builders.building.lock import build_lock
from adapterworks.builders.building.prepared import Prepared
from adapterworks.builders.objectives.objective import objective_of
from adapterworks.builders.plan.plan import Plan, with_seconds
from adapterworks.builders.training.events import Event
from adapterworks.builders.training.job import run_job
from adapterworks.manifests.errors import InvalidInput

STEPS = 3


def calibrated(prepared: Prepared) -> Plan:
    """The plan with its time."""
    from adapterworks.builders.training.batches import save_encoded

    plan = prepared.plan
    # AdaLoRA's schedule needs the plan's number of steps: training is stopped, not shortened.
    short = plan.model_copy(update={"evaluate_every": plan.steps + 1})
    events: list[Event] = []
    with tempfile.TemporaryDirectory(prefix="adapters-calibrate-") as name:
        folder = Path(name)
        if objective_of(plan.manifest).rollouts:
            raise InvalidInput(
                f"the time of `{plan.objective}` is not measured in advance: it is mostly that of "
                "sampling answers, whose lengths are not known",
                hint="leave `--calibrate` out; a build tells the time that is left",
            )
        save_encoded(folder / "encoded.safetensors", {"train": prepared.encoded["train"]})
        job = prepared.job(plan=short, until=min(STEPS, plan.steps))
        with build_lock(folder) as lock:
            run_job(job, folder, lock, events.append)
    steps = [event for event in events if event["event"] == "step"]
    first, last = steps[0], steps[-1]
    if len(steps) == 1:
        return with_seconds(plan, last["tokens_per_second"])
    spent = _seconds(last) - _seconds(first)
    return with_seconds(plan, (last["tokens"] - first["tokens"]) / spent)


def _seconds(event: Event) -> float:
    return float(event["tokens"] / event["tokens_per_second"])
