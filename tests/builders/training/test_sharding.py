"""Weights in parts, over gloo: what is trained, kept and written is what one process makes."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest
import torch
from safetensors.torch import load_file

from adapterworks.builders.training.events import read_events
from adapterworks.builders.training.job import Job, run_job
from adapterworks.manifests.errors import Unavailable
from tests.builders.build_support import TinyJob
from tests.warm.python import warm

pytestmark = pytest.mark.train


def run(job: TinyJob, processes: int, sharding: str = "none", until: int | None = None) -> None:
    """Train in so many processes, as a build does."""
    changes = {"processes": processes, "sharding": sharding}
    train = job.plan.manifest.train.model_copy(update=changes)
    manifest = job.plan.manifest.model_copy(update={"train": train})
    plan = job.plan.model_copy(update={"manifest": manifest, "micro_batch": 2})
    with (job.folder / "lock").open("w") as lock:
        run_job(
            Job(plan, str(job.base), 1, os.getpid(), until=until),
            job.folder,
            lock.fileno(),
            lambda _: None,
        )


def require_equal(one: TinyJob, many: TinyJob) -> None:
    """Weights within 1e-4 of each number, steps and validation within 1e-4 of each figure."""
    files = [sorted((t.folder / "train/adapter").glob("*.safetensors")) for t in (one, many)]
    assert [path.name for path in files[0]] == [path.name for path in files[1]]
    expected, found = ({k: v for p in one for k, v in load_file(p).items()} for one in files)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-6)
    events = [read_events(trained.folder / "events.jsonl") for trained in (one, many)]
    for name, key in (("validation", "loss"), ("step", "loss"), ("step", "gradient_norm")):
        values = [{e["step"]: e[key] for e in told if e["event"] == name} for told in events]
        assert values[0] == pytest.approx(values[1], rel=1e-4), (name, key)


@pytest.mark.parametrize(
    ("kind", "sharding"),
    [
        ("lora", "fsdp"),
        pytest.param("full", "fsdp", marks=pytest.mark.slow),
        pytest.param("full", "zero-2", marks=pytest.mark.slow),
        pytest.param("lora", "zero-2", marks=pytest.mark.slow),
    ],
)
def test_two_processes_with_parts_and_then_three_with_everything_give_the_weights_of_one(
    job: Callable[..., TinyJob], kind: str, sharding: str
) -> None:
    """25 rows in batches of 8, two a micro batch, so that a step adds up several; the checkpoint of
    parts is gone on with by processes that each hold all weights."""
    one, many = (job(kind, name, rows=25, epochs=2.0) for name in ("one", "many"))
    with warm():
        run(one, 1)
        run(many, 2, sharding, until=one.plan.evaluate_every)
        run(many, 3)
    require_equal(one, many)


@pytest.mark.parametrize(
    ("init", "sharding"),
    [
        pytest.param("eva", "none", marks=pytest.mark.slow),
        ("eva", "fsdp"),
        pytest.param("pissa", "none", marks=pytest.mark.slow),
        ("pissa", "fsdp"),
    ],
)
def test_a_start_that_is_computed_is_that_of_one_process(
    job: Callable[..., TinyJob], init: str, sharding: str
) -> None:
    """EVA's gathering of what all processes see would wait for ever where they begin in turn;
    PiSSA's start stands in parts beside the factors. What is written names no start: a reader has
    no rows to compute it from, and the base as it is."""
    method = {"init": init, "rank": 4}
    one, many = (job("lora", name, rows=25, epochs=1.0, method=method) for name in ("one", "many"))
    with warm():
        run(one, 1)
        run(many, 2, sharding)
    require_equal(one, many)
    for trained in (one, many):
        path = trained.folder / "train/adapter/adapter_config.json"
        told = json.loads(path.read_text(encoding="utf-8"))
        assert (told.get("init_lora_weights", True), told.get("eva_config")) == (True, None)


@pytest.mark.slow
def test_in_bf16_the_losses_are_those_of_one_process(job: Callable[..., TinyJob]) -> None:
    """Weights are gathered in bfloat16 and kept in float32: losses within 1 % of one process's,
    which casts at each multiplication."""
    one, many = (job("full", name, rows=25, epochs=2.0, precision="bf16") for name in "ab")
    with warm():
        run(one, 1)
        run(many, 2, "fsdp")
    losses = [
        [e["loss"] for e in read_events(t.folder / "events.jsonl") if e["event"] == "step"]
        for t in (one, many)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
    (path,) = (many.folder / "train/adapter").glob("*.safetensors")
    assert {tensor.dtype for tensor in load_file(path).values()} == {torch.float32}


@pytest.mark.slow
def test_a_killed_process_of_two_leaves_a_training_that_three_end(
    job: Callable[..., TinyJob],
) -> None:
    """kill -9 of the second of two; the first is ended by the launcher, and the build says why."""
    one, many = (
        job("lora", name, rows=25, epochs=20.0, save_every="1 steps") for name in ("one", "many")
    )
    with warm():
        run(one, 1)
    killer = Thread(target=_kill_second, args=(many.folder,))
    killer.start()
    with pytest.raises(Unavailable):
        run(many, 2, "fsdp")
    killer.join()
    assert not (many.folder / "train/result.json").exists()
    with warm():
        run(many, 3, "fsdp")
    told = [e["event"] for e in read_events(many.folder / "events.jsonl")]
    assert "resumed" in told
    require_equal(one, many)


def _kill_second(folder: Path) -> None:
    """Wait for a checkpoint, then kill the process that the launcher numbered 1."""
    until = time.monotonic() + 240
    while not list((folder / "train/checkpoints").glob("step-*")):
        assert time.monotonic() < until, "no checkpoint"
        time.sleep(0.01)
    for path in Path("/proc").glob("[0-9]*"):
        try:
            named = str(folder).encode() in (path / "cmdline").read_bytes()
            second = b"\0RANK=1\0" in (path / "environ").read_bytes()
        except OSError:
            continue
        if named and second:
            os.kill(int(path.name), signal.SIGKILL)
