"""An engine's refusals are told apart: whose fault it is, what helps, and never where it runs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from adapterworks.gateway.engines.messages import message, plain
from adapterworks.manifests.errors import Unavailable
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Running, Start
from tests.registry.releases import publish

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]
PLACES = (
    "/home/ann/.adapters/checkouts/ab/servable",
    "http://10.1.2.3:8000/v1",
    "10.1.2.3:8000",
    "localhost:8000",
    "C:\\models\\x",
)


@pytest.mark.parametrize("place", PLACES)
def test_no_place_is_in_what_an_engine_said(place: str) -> None:
    said = plain(f"cannot read {place}, or '{place}' (see {place})\nand/or 3/4 of it at 12:30")
    assert place not in said
    assert "10.1.2.3" not in said
    assert said == "cannot read …, or '…' (see …) and/or 3/4 of it at 12:30"


def test_no_trace_is_in_what_an_engine_said() -> None:
    trace = 'it failed\nTraceback (most recent call last):\n  File "/x/y.py", line 3\nKeyError: 1'
    assert plain(trace) == "it failed"


@pytest.mark.parametrize(
    "text",
    [
        '{"error": {"message": "max_tokens is too large", "type": "x"}}',
        '{"object": "error", "message": "max_tokens is too large"}',
        '{"error": "max_tokens is too large"}',
        '{"detail": "max_tokens is too large"}',
        "max_tokens is too large",
    ],
)
def test_the_message_is_found_in_every_shape(text: str) -> None:
    assert message(text) == "max_tokens is too large"


def test_a_message_of_any_length_is_short() -> None:
    assert len(message(json.dumps({"error": {"message": "x" * 5000}}))) == 300


class Saying(StandIn):
    """An engine that answers requests, or loads, as it is told."""

    answers: Response | None = None
    loads_with: Response | None = None
    lists: Response | None = None
    checks = 0
    misses = 0

    async def _generate(self, request: Request) -> Response:
        return self.answers or await super()._generate(request)

    async def _load(self, request: Request) -> Response:
        return self.loads_with or await super()._load(request)

    async def _models(self, request: Request) -> Response:
        return self.lists or await super()._models(request)

    async def _health(self, request: Request) -> Response:
        self.checks += 1
        if self.misses:
            self.misses -= 1
            return Response(status_code=503)
        return await super()._health(request)


@pytest.fixture
def standin(base: Base) -> Saying:
    return Saying(base.name)


@pytest.fixture
def asked(start: Start, registry: Registry, base: Base, tmp_path: Path) -> Running:
    publish(registry, tmp_path, 1, name="medical", alias="prod", base=base.identity)
    return start()


def ask(running: Running, model: str = "medical") -> Any:
    with running.http() as http:
        return http.post(CHAT, json={"model": model, "messages": HELLO, "max_tokens": 1})


def error(text: str, status: int) -> Response:
    return JSONResponse({"error": {"message": text, "param": "temperature"}}, status)


@pytest.mark.parametrize(
    ("said", "status", "told", "words"),
    [
        (error("temperature must be below 2", 400), 400, "invalid_request", "below 2"),
        (error("no such tool", 422), 400, "invalid_request", "no such tool"),
        (error("secret", 401), 503, "temporarily_unavailable", "failed to answer"),
        (error("secret", 403), 503, "temporarily_unavailable", "failed to answer"),
        (error("secret", 429), 503, "temporarily_unavailable", "is busy"),
        (PlainTextResponse("secret", 429), 503, "temporarily_unavailable", "is busy"),
        (PlainTextResponse("secret", 413), 413, "request_too_large", "larger than the engine"),
        (error("secret", 500), 503, "temporarily_unavailable", "failed to answer"),
        (PlainTextResponse("secret", 504), 503, "temporarily_unavailable", "failed to answer"),
        (PlainTextResponse("secret", 404), 404, "model_not_found", "does not offer"),
    ],
)
def test_whose_fault_an_answer_is(
    asked: Running, standin: Saying, said: Response, status: int, told: str, words: str
) -> None:
    assert ask(asked).status_code == 200
    standin.answers = said
    answer = ask(asked)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == told
    assert words in answer.json()["error"]["message"]
    assert "secret" not in answer.text
    if status == 400:
        assert answer.json()["error"]["param"] == "temperature"
    if status == 503:
        assert int(answer.headers["retry-after"]) >= 1


def test_a_busy_engine_says_for_how_long(asked: Running, standin: Saying) -> None:
    standin.answers = PlainTextResponse("", 429, headers={"retry-after": "17"})
    assert ask(asked).headers["retry-after"] == "17"


@pytest.mark.parametrize("status", [500, 502, 401, 404, 429])
def test_trouble_with_a_load_is_no_judgement_on_the_adapter(
    asked: Running, standin: Saying, status: int
) -> None:
    """It is not remembered, and does not say where the adapter lies."""
    where = "No adapter found for /srv/home/checkouts/ab/servable"
    standin.loads_with = JSONResponse({"error": {"message": where}}, status)
    answer = ask(asked)
    assert answer.status_code == 503, answer.text
    assert "/srv" not in answer.text
    standin.loads_with = None
    assert ask(asked).status_code == 200


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "LoRA rank 64 is greater than max_lora_rank 16"),
        (
            500,
            "Call to add_lora method failed: Worker failed with error 'LoRA rank 64 is greater "
            "than max_lora_rank 16.', please check the stack trace above",
        ),
    ],
)
def test_a_judgement_on_the_adapter_is_told_and_remembered(
    asked: Running, standin: Saying, status: int, said: str
) -> None:
    standin.loads_with = JSONResponse({"error": {"message": said}}, status)
    answer = ask(asked)
    assert answer.status_code == 422
    assert "LoRA rank 64 is greater" in answer.json()["error"]["message"]
    standin.loads_with = None
    assert ask(asked).status_code == 422


def test_one_health_check_that_is_missed_is_no_death(asked: Running, standin: Saying) -> None:
    assert ask(asked).status_code == 200
    (engine,) = asked.gateway.pool.engines
    generation, loads = engine.health.generation, list(standin.loads)
    standin.misses, seen = 2, standin.checks
    while standin.checks < seen + 5:
        assert ask(asked).status_code == 200
    assert engine.health.generation == generation
    assert standin.loads == loads


@pytest.mark.parametrize(
    "said",
    ["[]", "null", "7", '{"data": null}', '{"data": {}}', '{"data": ["x"]}', '{"data": [{}]}',
     '{"data": [{"id": null}]}', "<html>", "\xff", ""],
)  # fmt: skip
def test_whoever_lists_no_models_is_down_and_disturbs_nobody(
    launcher: Launcher, registry: Registry, base: Base, tmp_path: Path, said: str
) -> None:
    """A page of a mesh, or another program on the port: it says that it is healthy."""
    one, other = Saying(base.name), Saying(base.name)
    other.lists = Response(said.encode("latin-1"), media_type="application/json")
    engines = [launcher.standin(base, s, id=n) for n, s in (("one", one), ("other", other))]
    running = launcher.gateway(registry, engines, tmp_path / "spool")
    running.wait_ready()
    other.checks, deadline = 0, time.monotonic() + 30
    while other.checks < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert engines[1].health.state == "down"
    assert "does not list its models" in engines[1].health.reason
    assert {worker.failures for worker in running.gateway.supervisor.workers.values()} == {0}
    # One that was an engine when it was looked at last.
    with pytest.raises(Unavailable, match="no list of them"):
        running.loop.run(engines[1].models())
    assert ask(running, base.name).status_code == 200


def test_an_engine_that_is_away_is_not_named(asked: Running, standin: Saying) -> None:
    (engine,) = asked.gateway.pool.engines
    address = engine.url  # type: ignore[attr-defined]
    standin.broken = True
    with asked.http() as http:
        while (ready := http.get("/ready")).status_code == 200:
            pass
    told = ask(asked)
    assert told.status_code == 503
    for text in (ready.text, told.text):
        assert address not in text
        assert "127.0.0.1" not in text
    assert f"no engine of `{engine.base.name}` is ready (down)" in ready.json()["reason"]


def test_a_base_with_one_engine_left_is_ready(
    launcher: Launcher, registry: Registry, base: Base, tmp_path: Path
) -> None:
    one, other = Saying(base.name), Saying(base.name)
    engines = [launcher.standin(base, s, id=n) for n, s in (("one", one), ("other", other))]
    running = launcher.gateway(registry, engines, tmp_path / "spool")
    running.wait_ready()
    other.broken = True
    while engines[1].health.state == "ready":
        assert ask(running, base.name).status_code == 200
    with running.http() as http:
        assert http.get("/ready").status_code == 200
        one.broken = True
        while http.get("/ready").status_code == 200:
            pass
