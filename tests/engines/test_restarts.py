"""A process of a build's engine that dies is followed by one that knows nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from adapterworks.builders.engines.engine import Adapter, Given, Sampling
from adapterworks.engines.vllm import VllmEngine
from adapterworks.gateway.engines.engine import State
from adapterworks.gateway.engines.local import FAILED_STARTS, LocalEngine
from adapterworks.gateway.engines.target import ServedBase
from adapterworks.manifests.errors import Refused, Unavailable
from adapterworks.registry.releases.release import Servable

BASE = ServedBase(name="tiny", model="base", digest="sha256:" + "0" * 64, exact=True)
NAMES = ("sha256:" + "a" * 64, "sha256:" + "b" * 64)


class Process:
    """What `LocalEngine` is to a build, without one: it holds adapters until it dies."""

    forms = frozenset({"lora"})
    base = BASE

    def __init__(self) -> None:
        self.health = SimpleNamespace(generation=1)
        self.holds: list[str] = []
        self.asked: list[str] = []
        self.dies: list[str] = []  # at the next question of each kind
        self.comes_again, self.fails = True, False

    def _may_die(self, what: str, how: Exception) -> None:
        if what in self.dies:
            self.dies.remove(what)
            self.die()
            raise how

    def die(self) -> None:
        """Another one takes its place, at once."""
        self.holds = []
        self.health = SimpleNamespace(generation=self.health.generation + 1)

    async def another(self, generation: int) -> bool:
        if self.health.generation != generation and not self.comes_again:
            raise Unavailable("it did not come up again")
        return bool(self.health.generation != generation)

    async def load(self, digest: str, folder: Path) -> None:
        self._may_die("load", Unavailable("unreachable"))
        if self.fails:
            raise Unavailable("no room")
        self.holds.append(digest)

    async def unload(self, digest: str) -> None:
        self._may_die("unload", Unavailable("unreachable"))
        if digest in self.holds:
            self.holds.remove(digest)

    @contextlib.asynccontextmanager
    async def post(self, path: str, body: bytes, headers: object) -> AsyncIterator[Any]:
        asked = json.loads(body)
        self.asked.append(asked["model"])
        if asked["model"] != "base" and asked["model"] not in self.holds:
            yield _Answer(404, {"error": {"message": "no such model"}})
            return
        self._may_die("post", Unavailable("unreachable"))
        broken = "answer" in self.dies
        if broken:
            self.dies.remove("answer")
            self.die()
        choice = {
            "index": 0,
            "token_ids": [5],
            "finish_reason": "length",
            "logprobs": {"token_logprobs": [-0.5], "top_logprobs": [{"token_id:7": -0.25}]},
        }
        yield _Answer(200, {"choices": [choice]}, broken)


class _Answer:
    def __init__(self, status: int, said: object, broken: bool = False) -> None:
        self.status, self._said, self._broken = status, said, broken

    async def read(self) -> bytes:
        if self._broken:
            raise ConnectionResetError("it closed the connection")
        return json.dumps(self._said).encode()


@pytest.fixture
def process() -> Process:
    return Process()


@pytest.fixture
def engine(process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VllmEngine:
    def wait(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(work)

    engine = VllmEngine.__new__(VllmEngine)
    engine._adapters, engine._forms, engine._generation = {}, tmp_path, 1
    engine._spec = SimpleNamespace(max_num_seqs=4)  # type: ignore[assignment]
    monkeypatch.setattr(engine, "_running", lambda: process)
    engine._loop = SimpleNamespace(wait=wait)  # type: ignore[assignment]
    return engine


def adapter(digest: str, folder: Path) -> Adapter:
    return Adapter(digest, folder, Servable(form="lora", origin="native", rank=8), folder)


def complete(engine: VllmEngine, digest: str) -> Any:
    return engine.complete([[3, 4]], Sampling(1), adapter=digest)


def score(engine: VllmEngine, digest: str) -> Any:
    return engine.score([Given((3, 7), 1)], adapter=digest)


@pytest.mark.parametrize("ask", [complete, score])
@pytest.mark.parametrize("when", ["before", "post", "answer"])
def test_a_process_that_died_is_followed_by_one_with_its_adapters(
    engine: VllmEngine,
    process: Process,
    tmp_path: Path,
    ask: Callable[[VllmEngine, str], Any],
    when: str,
) -> None:
    """Between two questions, before an answer begins, and in the middle of it."""
    for name in NAMES:
        engine.know(adapter(name, tmp_path))
    if when == "before":
        process.die()
    else:
        process.dies = [when]
    assert len(ask(engine, NAMES[0])) == 1
    assert process.holds == [*NAMES]
    assert process.asked == [NAMES[0]] * (1 if when == "before" else 2)
    ask(engine, NAMES[1])
    assert process.holds == [*NAMES], "what is there is not loaded again"


def test_what_dies_at_the_same_question_again_ends_it(
    engine: VllmEngine, process: Process, tmp_path: Path
) -> None:
    """Each start takes a minute, and a question that no engine survives has no answer."""
    engine.know(adapter(NAMES[0], tmp_path))
    process.dies = ["post"] * 9
    with pytest.raises(Unavailable, match="unreachable"):
        complete(engine, NAMES[0])
    assert process.asked == [NAMES[0]] * 2
    process.dies = []
    assert complete(engine, NAMES[0]), "the next one is asked as ever"


def test_one_that_does_not_come_up_again_ends_the_question(
    engine: VllmEngine, process: Process, tmp_path: Path
) -> None:
    engine.know(adapter(NAMES[0], tmp_path))
    process.dies, process.comes_again = ["post"], False
    with pytest.raises(Unavailable, match="did not come up again"):
        complete(engine, NAMES[0])


def test_a_refusal_of_a_process_that_lives_is_one(
    engine: VllmEngine, process: Process, tmp_path: Path
) -> None:
    engine.know(adapter(NAMES[0], tmp_path))
    process.holds = []
    with pytest.raises(Refused, match="404"):
        complete(engine, NAMES[0])
    assert process.asked == [NAMES[0]]


def test_a_steps_adapter_takes_the_place_of_the_last_one_though_it_died(
    engine: VllmEngine, process: Process, tmp_path: Path
) -> None:
    """As a training asks: one is forgotten, the next one loaded, and the first one may be back."""
    engine.know(adapter(NAMES[0], tmp_path))
    process.dies = ["unload", "load"]
    engine.forget(NAMES[0])
    assert process.holds == []
    engine.know(adapter(NAMES[1], tmp_path))
    assert process.holds == [NAMES[1]]
    engine.forget(NAMES[1])
    engine.know(adapter(NAMES[0], tmp_path))
    assert process.holds == [NAMES[0]]


def test_an_adapter_that_could_not_be_loaded_can_be_tried_again(
    engine: VllmEngine, process: Process, tmp_path: Path
) -> None:
    """The place where its files are looked for is free again."""
    process.fails = True
    with pytest.raises(Unavailable, match="no room"):
        engine.know(adapter(NAMES[0], tmp_path))
    assert not list(tmp_path.iterdir())
    process.fails = False
    engine.know(adapter(NAMES[0], tmp_path))
    assert process.holds == [NAMES[0]]
    assert (tmp_path / ("a" * 64) / "servable").is_dir()


class Local(LocalEngine):
    """The supervised engine, in one state after the other: as long as somebody waits."""

    def __init__(self, states: list[tuple[State, int, int]], healthy: bool = False) -> None:
        self._states, self._is = states, healthy
        self.base, self.log, self._reason = BASE, Path("log"), "killed"
        self._next()

    def _next(self) -> None:
        self._state, self._generation, self._failed = self._states.pop(0)

    async def _healthy(self) -> bool:
        return self._is

    def waited_for(self) -> bool:
        """Whether another than the first process comes."""

        async def sleep(seconds: float) -> None:
            self._next()

        with patch.object(asyncio, "sleep", sleep):
            return asyncio.run(self.another(1))


def test_the_next_process_is_waited_for() -> None:
    """Its end is seen a moment after the connection's; then it starts, not always at first."""
    coming: list[tuple[State, int, int]] = [
        ("ready", 1, 0),
        ("down", 1, 0),
        ("starting", 1, 0),
        ("down", 1, 1),
        ("ready", 2, 0),
    ]
    assert Local(coming).waited_for()
    assert Local([("ready", 2, 0)]).waited_for(), "it is there already"
    assert not Local([("ready", 1, 0)], healthy=True).waited_for()


@pytest.mark.parametrize("last", [("down", 1, FAILED_STARTS), ("stopped", 1, 0)])
def test_one_that_never_comes_is_not_waited_for(last: tuple[State, int, int]) -> None:
    with pytest.raises(Unavailable, match="ended and did not come up again: killed"):
        Local([("down", 1, 0), ("starting", 1, 0), last]).waited_for()
