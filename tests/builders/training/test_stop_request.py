"""A training that is asked to end saves its step, and ends later as one that was not asked."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from adapterworks.builders.training import loop
from adapterworks.builders.training.events import read_events
from adapterworks.builders.training.failure import failure_of
from adapterworks.builders.training.job import STOP
from adapterworks.builders.training.loop import Trainer
from adapterworks.builders.training.stop_request import StopRequest
from adapterworks.manifests.errors import Unavailable
from tests.builders.training.bench import Bench
from tests.builders.training.test_job import written_job


def asked_at(step: int, monkeypatch: pytest.MonkeyPatch, ask: Any) -> None:
    """Call `ask` while step number `step` is computed."""
    own = Trainer._step

    def take(self: Trainer, indices: list[int]) -> Any:
        if self.progress.step == step - 1:
            ask()
        return own(self, indices)

    monkeypatch.setattr(Trainer, "_step", take)


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "file"])
def test_it_ends_after_its_step_and_goes_on_from_there(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Step 3 is no evaluation's, and the next checkpoint would be half an hour away."""
    plan = bench.plan()
    folder = written_job(bench, plan)

    def ask() -> None:
        if how == "file":
            (folder / STOP).touch()
        else:
            os.kill(os.getpid(), getattr(signal, how))

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patch:
        asked_at(3, patch, ask)
        assert loop.main(folder) == 1
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    back = failure_of(folder, 1)
    assert type(back) is Unavailable
    assert back.message.startswith("the training was asked to end, and did after step 3 of 9")
    (folder / STOP).unlink(missing_ok=True)
    assert loop.main(folder) == 0
    events = read_events(folder / "events.jsonl")
    assert [e["step"] for e in events if e["event"] == "resumed"] == [3]
    assert [e["step"] for e in events if e["event"] == "step"] == [*range(1, 10)]
    bench.trainer(plan, "same").run()
    assert torch.equal(bench.table("build"), bench.table("same"))


def test_after_the_last_step_it_is_done(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written_job(bench, bench.plan())
    asked_at(9, monkeypatch, lambda: (folder / STOP).touch())
    assert loop.main(folder) == 0


@pytest.mark.parametrize("asked", [(0,), (1,), (0, 1)])
def test_all_processes_end_after_the_same_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: tuple[int, ...]
) -> None:
    """One that is signalled alone would leave the others waiting for it."""
    requests = [StopRequest(tmp_path), StopRequest(tmp_path)]
    for rank in asked:
        requests[rank]._hear()
    heard = [float(request._signalled) for request in requests]
    monkeypatch.setattr(
        "adapterworks.builders.training.stop_request.summed", lambda _, value: sum(heard)
    )
    for rank, request in enumerate(requests):
        assert request.reason(SimpleNamespace(is_main_process=rank == 0), 3, 9) is not None
