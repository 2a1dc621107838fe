"""Several processes train the weights that one does, also with unequal shares of the rows."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load_file

from adapterworks.builders.training.events import read_events
from adapterworks.builders.training.job import Job, run_job
from tests.builders.build_support import TinyJob
from tests.warm.python import warm

pytestmark = pytest.mark.train


def run(job: TinyJob, processes: int, until: int | None = None) -> None:
    """Train in so many processes, as a build does."""
    train = job.plan.manifest.train.model_copy(update={"processes": processes})
    manifest = job.plan.manifest.model_copy(update={"train": train})
    plan = job.plan.model_copy(update={"manifest": manifest, "micro_batch": 2})
    with (job.folder / "lock").open("w") as lock, warm():
        run_job(
            Job(plan, str(job.base), 1, os.getpid(), until=until),
            job.folder,
            lock.fileno(),
            lambda _: None,
        )


@pytest.mark.parametrize("kind", ["lora", pytest.param("full", marks=pytest.mark.slow)])
def test_two_processes_and_then_three_give_the_weights_of_one(
    job: Callable[..., TinyJob], kind: str
) -> None:
    """25 rows in batches of 8: the last batch is one row, which only one process has. Without a
    part for the others they would wait for ever in their backward pass (DDP)."""
    one, many = (job(kind, name, rows=25, epochs=2.0) for name in ("one", "many"))
    run(one, 1)
    run(many, 2, until=one.plan.evaluate_every)
    run(many, 3)
    expected, found = (
        load_file(next((trained.folder / "train/adapter").glob("*.safetensors")))
        for trained in (one, many)
    )
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-6)
    events = [read_events(trained.folder / "events.jsonl") for trained in (one, many)]
    assert [event["step"] for event in events[1] if event["event"] == "resumed"] == [2]
    for name, key in (("validation", "loss"), ("step", "loss"), ("step", "gradient_norm")):
        values = [[e[key] for e in found if e["event"] == name] for found in events]
        assert values[0] == pytest.approx(values[1], rel=1e-4), (name, key)
