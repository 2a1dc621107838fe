"""The training process: what it is given, and how its failure comes back."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.training import loop
from adapterworks.builders.training.batches import save_encoded
from adapterworks.builders.training.events import read_events
from adapterworks.builders.training.job import Job
from adapterworks.builders.training.loop import Trainer
from adapterworks.manifests.errors import Refused
from tests.builders.training.bench import VALIDATION, Bench
from tests.builders.training.by_hand import (
    examples,
)


def written_job(bench: Bench, plan: Plan, **changes: Any) -> Path:
    folder = bench.folder / "build"
    folder.mkdir()
    save_encoded(
        folder / "encoded.safetensors", {"train": examples(), "validation": examples(VALIDATION)}
    )
    job = replace(Job(plan, str(bench.folder), 6, os.getpid()), **changes)
    job.write(folder)
    return folder


def test_a_job_is_trained_in_its_folder(bench: Bench) -> None:
    plan = bench.plan()
    folder = written_job(bench, plan)
    assert loop.main(folder) == 0
    bench.trainer(plan, "same").run()
    written = load_file(folder / "train/adapter/adapter_model.safetensors")["table"]
    assert torch.equal(written, bench.table("same"))
    assert len([e for e in read_events(folder / "events.jsonl") if e["event"] == "step"]) == 9


def test_a_job_may_end_early(bench: Bench) -> None:
    folder = written_job(bench, bench.plan(), until=3)
    assert loop.main(folder) == 0
    assert json.loads((folder / "train" / "result.json").read_text())["steps"] == 3


def test_a_job_that_is_refused_leaves_its_reason(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written_job(bench, bench.plan())

    def refuse(self: Trainer, until: int | None) -> None:
        raise Refused("it diverged", hint="do less")

    monkeypatch.setattr(Trainer, "run", refuse)
    assert loop.main(folder) == 1
    reason = json.loads((folder / "failure.json").read_text())
    assert reason == {"message": "it diverged", "hint": "do less"}
