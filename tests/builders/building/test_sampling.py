"""A training that learns from an engine's answers: one adapter at a time, compared, and resumed."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adapterworks.builders.building import sampling
from adapterworks.builders.building.run import run_build
from adapterworks.builders.building.sampling import _handler, _Server
from adapterworks.builders.engines.choice import VLLM, Engines
from adapterworks.builders.engines.engine import Adapter, Completion, Model
from adapterworks.builders.engines.huggingface import HuggingFace, HuggingFaceEngine
from adapterworks.builders.training.engine_sampler import EngineSampler
from adapterworks.engines.asking import _completion
from adapterworks.manifests.errors import AdapterworksError, InvalidInput, Refused, Unavailable
from adapterworks.manifests.load import load_manifest
from tests.builders.workshop import Workshop
from tests.warm.python import warm

GRPO = """
[objective]
kind = "grpo"
engine = "vllm"
rewards = ["chrf"]
generations = 4
max_completion = 4
"""


class Watched(HuggingFaceEngine):
    """The reference implementation in the engine's place; what it is told is written down."""

    def __init__(self, folder: Path, adapters: Sequence[Adapter], off: float) -> None:
        super().__init__(folder, adapters)
        self.known = [adapter.digest for adapter in adapters]
        self.has = {*self.known}
        self.off, self.asked, self.closed = off, 0, False

    def know(self, adapter: Adapter) -> None:
        super().know(adapter)
        self.known.append(adapter.digest)
        self.has.add(adapter.digest)

    def forget(self, adapter: str) -> None:
        super().forget(adapter)
        self.has.discard(adapter)

    def complete(self, *given: Any, **more: Any) -> list[tuple[Completion, ...]]:
        assert self.has == {more["adapter"]}, "one adapter at a time"
        self.asked += 1
        return [
            tuple(replace(one, logprobs=tuple(p + self.off for p in one.logprobs)) for one in group)
            for group in super().complete(*given, **more)
        ]

    def close(self) -> None:
        super().close()
        self.closed = True


class Opener(HuggingFace):
    """Opens it."""

    def __init__(self, off: float = 0.0) -> None:
        self.off = off
        self.opened: list[Watched] = []

    def open(self, model: Model, adapters: Sequence[Adapter], *, longest: int) -> Watched:
        self.room = [one.servable.rank for one in adapters if one.servable is not None]
        self.opened.append(Watched(model.folder, adapters, self.off))
        return self.opened[-1]


def build(workshop: Workshop, opener: Opener, *overrides: str, kind: str = "lora") -> Any:
    path = workshop.manifest(kind, epochs=1, rate=5e-3, more=GRPO)
    app = workshop.app
    with warm():
        return run_build(
            load_manifest(path, overrides=["train.evaluations=2", *overrides]),
            registry=app.registry,
            bases=app.bases,
            home=workshop.home,
            who="tester",
            engines=Engines(openers={"huggingface": HuggingFace(), VLLM: opener}),
        )


@pytest.mark.slow
@pytest.mark.train
def test_each_steps_adapter_is_loaded_and_the_last_one_unloaded(
    workshop: Workshop,
) -> None:
    opener = Opener()
    built = build(workshop, opener)
    (engine,) = opener.opened
    lines = workshop.registry().read(built.digest, "training.jsonl").decode().splitlines()
    steps = [e for e in map(json.loads, lines) if e["event"] == "step"]
    learnt = [step for step in steps if step["skipped_groups"] < 8]
    assert len(steps) == 3
    assert learnt, "every group was skipped"
    assert max(step["mismatch"] for step in learnt) < 1e-4
    # Weights that have moved are other weights: at least one load a step that learnt something.
    assert len({*engine.known}) == len(engine.known) > len(learnt) - 1
    assert all("sync_seconds" in step for step in steps[1:] if step in learnt[1:])
    assert engine.closed
    assert not (built.folder / "sampling").exists()


@pytest.mark.slow
@pytest.mark.train
def test_adalora_begins_with_nothing_and_the_engine_has_room_for_what_comes(
    workshop: Workshop,
) -> None:
    """Its first adapter has no rank, those that follow up to the initial one."""
    opener = Opener()
    built = build(workshop, opener, kind="adalora")
    assert opener.room == [built.plan.servable.rank] == [16]
    lines = workshop.registry().read(built.digest, "training.jsonl").decode().splitlines()
    steps = [e for e in map(json.loads, lines) if e["event"] == "step"]
    assert len(steps) == 3
    assert all(step.get("mismatch", 0.0) < 1e-4 for step in steps)


@pytest.mark.train
def test_an_engine_that_disagrees_with_the_trainer_stops_the_build(workshop: Workshop) -> None:
    opener = Opener(off=5e-3)
    with pytest.raises(Refused, match=r"sampler and trainer differ by 0\.005"):
        build(workshop, opener)
    assert opener.opened[0].closed


@pytest.mark.train
def test_without_such_an_engine_nothing_begins(workshop: Workshop) -> None:
    path = workshop.manifest(epochs=1, more=GRPO)
    app = workshop.app
    with pytest.raises(Exception, match="there is no engine `vllm` here"):
        run_build(
            load_manifest(path),
            registry=app.registry,
            bases=app.bases,
            home=workshop.home,
            who="tester",
        )


def test_who_ends_a_training_does_not_wait_for_the_engines_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C while an engine samples: what it was asked for is broken off, and it is closed."""
    begun, broken_off, closed = threading.Event(), threading.Event(), threading.Event()

    class Slow:
        def complete(self, *given: Any, **more: Any) -> Any:
            begun.set()
            assert broken_off.wait(60), "the batch was waited for"
            raise Unavailable("broken off")

        def close(self) -> None:
            closed.set()

    class Interruptible(Opener):
        def interrupt(self, thread: int) -> None:
            broken_off.set()

    def load(asked: Any, *_: Any) -> dict[str, float]:
        asked.engine = Slow()
        return {}

    monkeypatch.setattr(sampling._Asked, "_load", load)
    monkeypatch.setattr(sampling, "require_sampling", lambda *_: None)
    manifest = SimpleNamespace(objective=SimpleNamespace(engine=VLLM))
    prepared: Any = SimpleNamespace(plan=SimpleNamespace(manifest=manifest))
    question = {"digest": "d", "adapter": "a", "seeds": None, "most": 1, "stop": [], "count": 1}

    def train() -> None:
        engines = Engines(openers={VLLM: Interruptible()})
        with (
            sampling.sampling(prepared, engines, tmp_path) as address,
            socket.socket(socket.AF_UNIX) as channel,
        ):
            channel.connect(str(address))
            channel.sendall(json.dumps({**question, "prompts": [[1]]}).encode() + b"\n")
            assert begun.wait(60)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    assert closed.is_set()
    assert "Traceback" not in capfd.readouterr().err


def test_what_a_step_sampled_is_kept_until_it_is_in_a_checkpoint(tmp_path: Path) -> None:
    """Asked again after a kill it is the same answer, and nobody is asked; other weights, another
    seed or a checkpoint in between are another question."""
    asked: list[dict[str, Any]] = []
    weights = ["one"]

    class Sampler(EngineSampler):
        def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
            asked.append(question)
            one = {"ids": [len(asked)], "logprobs": [-0.5], "finished": True}
            return {"told": {"sync_seconds": 0.25}, "groups": [[one]]}

    def save(folder: Path) -> None:
        folder.mkdir()
        (folder / "adapter_model.safetensors").write_text(weights[0])

    def sampler() -> Sampler:
        return Sampler("nowhere", save, tmp_path / "sampling", [2])

    def first(made: Sampler, seed: int | None) -> int:
        ((one,),) = made.sample([[5, 6]], 1, 4, None if seed is None else [seed])
        return one.ids[0]

    assert [first(sampler(), 7), first(sampler(), 7)] == [1, 1]
    assert first(sampler(), 8) == 2
    weights[0] = "other"
    assert first(sampler(), 7) == 3
    assert asked[0]["digest"] != asked[2]["digest"]
    assert Path(asked[2]["adapter"]).exists()
    assert not Path(asked[0]["adapter"]).exists()
    assert [first(sampler(), None), first(sampler(), None)] == [4, 5], "no evaluation is kept"
    made = sampler()
    made.durable()
    assert first(made, 7) == 6
    assert made.told == {"sync_seconds": 0.25}


def test_an_engine_that_is_gone_is_unavailable(tmp_path: Path) -> None:
    def save(folder: Path) -> None:
        folder.mkdir()
        (folder / "adapter_model.safetensors").write_text("one")

    with pytest.raises(Unavailable, match="the engine that samples cannot be reached"):
        EngineSampler(str(tmp_path / "none"), save, tmp_path / "s", [2]).sample([[5]], 1, 4, [7])


@pytest.mark.parametrize("kind", [Unavailable, Refused, InvalidInput])
def test_a_training_is_told_what_kind_of_error_its_engine_had(
    tmp_path: Path, kind: type[AdapterworksError]
) -> None:
    """What may be tried again is tried again, by a worker for one; what is refused is not."""

    class Failing:
        def answer(self, question: dict[str, Any]) -> dict[str, Any]:
            raise kind("no room now", hint="end somebody")

    def save(folder: Path) -> None:
        folder.mkdir()
        (folder / "adapter_model.safetensors").write_text("one")

    failing: Any = Failing()
    with _Server(str(tmp_path / "socket"), _handler(failing)) as server:
        beside = threading.Thread(target=server.handle_request)
        beside.start()
        sampler = EngineSampler(str(tmp_path / "socket"), save, tmp_path / "s", [2])
        with pytest.raises(kind, match="no room now") as told:
            sampler.sample([[5]], 1, 4, [7])
        beside.join()
    assert told.value.hint == "end somebody"


def test_an_answer_that_was_broken_off_is_none() -> None:
    choice = {"token_ids": [5], "logprobs": {"token_logprobs": [-0.1]}, "finish_reason": "abort"}
    with pytest.raises(Unavailable, match="broke an answer off"):
        _completion(choice)
    assert _completion(choice | {"finish_reason": "length"}).stop == "length"
