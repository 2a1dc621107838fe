"""What a request costs: every endpoint, streamed or whole, left, broken or finished, to the token.

The engine's own count, by request id, is the measure. A finished answer is metered with it; of one
that was left or broke off, never less is metered than the client was sent.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from adapterworks.gateway.config.tables import FairnessTable, GatewayConfig, TrustTable
from adapterworks.gateway.metering import meter
from adapterworks.gateway.request.body import parse_body
from adapterworks.gateway.request.cost import most
from adapterworks.gateway.request.endpoints import (
    CHAT,
    COMPLETIONS,
    COUNT_TOKENS,
    GENERATE,
    MESSAGES,
    RESPONSES,
    Endpoint,
    parse,
)
from adapterworks.gateway.storage.schema import usage_days, usage_events
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from tests.gateway import raw
from tests.gateway.engine_standin import MAX_MODEL_LEN, StandIn
from tests.gateway.running import Launcher, Loop, Running
from tests.registry.releases import publish

HELLO = [{"role": "user", "content": "hello, how are you today?"}]
TOOL = {"properties": {"usage": {"input_tokens": 0, "output_tokens": -1_000_000}}}
BODIES: dict[str, tuple[Endpoint, dict[str, Any]]] = {
    "chat": (CHAT, {"model": "m", "messages": HELLO, "max_tokens": 12}),
    "chat, three answers": (CHAT, {"model": "m", "messages": HELLO, "max_tokens": 4, "n": 3}),
    "completions": (COMPLETIONS, {"model": "m", "prompt": "hello there", "max_tokens": 12}),
    "completions, six answers": (
        COMPLETIONS,
        {"model": "m", "prompt": ["one", "two and a half", "three"], "max_tokens": 4, "n": 2},
    ),
    "responses": (RESPONSES, {"model": "m", "input": "hello there", "max_output_tokens": 12}),
    "responses, a tool called usage": (
        RESPONSES,
        {
            "model": "m", "input": "hello there", "max_output_tokens": 12,
            "tools": [{"type": "function", "name": "usage", "parameters": TOOL}],
        },
    ),
    "messages": (MESSAGES, {"model": "m", "messages": HELLO, "max_tokens": 12}),
    "generate": (GENERATE, {"adapter": "m", "prompt": "hello there", "max_tokens": 12}),
}  # fmt: skip
STREAMED = [name for name in BODIES if name != "generate"]


@dataclass
class Till:
    """A gateway, its engine, and the rows of one tenant."""

    running: Running
    standin: StandIn
    registry: Registry
    key: str
    key_id: str

    def http(self) -> httpx.Client:
        return self.running.http(self.key)

    def event(self, request_id: str) -> dict[str, Any]:
        """The row of a request, once it is there."""
        query = sa.select(usage_events).where(usage_events.c.request_id == request_id)
        deadline = time.monotonic() + 60
        while True:
            with self.registry.database.read() as connection:
                row = connection.execute(query).mappings().first()
            if row is not None:
                assert min(row["prompt_tokens"], row["completion_tokens"]) >= 0
                return dict(row)
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def estimated(self) -> float:
        """How often the metric says that a count was missing."""
        samples = self.running.gateway.metrics.estimated.collect()[0].samples
        return sum(s.value for s in samples if s.name.endswith("_total"))

    def free(self) -> None:
        """Wait until nothing is held."""
        gateway = self.running.gateway
        deadline = time.monotonic() + 60
        (engine,) = gateway.pool.engines
        while gateway.queue(engine).running or engine.inflight:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.fixture(scope="module")
def till(loop: Loop, base: Base, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Till]:
    patched = pytest.MonkeyPatch()
    patched.setattr(meter, "DRAIN_SECONDS", 0.02)  # each test waits for its event
    home = Path(tmp_path_factory.mktemp("till"))
    registry = Registry.open(
        database=f"sqlite:///{home / 'index.db'}", blobs=str(home / "blobs"), home=home
    )
    publish(registry, home, 1, name="m", alias="prod", base=base.identity)
    admin = TenantAdmin(registry.database, who="tester")
    key = admin.add("payer", allow=("*",), limits=Limits(tpm=10_000_000, max_concurrency=64))[1]
    launcher, standin = Launcher(loop), StandIn(base.name)
    running = launcher.gateway(
        registry,
        [launcher.standin(base, standin)],
        home / "spool",
        GatewayConfig(trust=TrustTable(proof="off"), fairness=FairnessTable(slots=16)),
    )
    running.wait_ready()
    yield Till(running, standin, registry, key.text, key.id)
    launcher.close()
    patched.undo()


@pytest.fixture(autouse=True)
def as_before(till: Till) -> Iterator[None]:
    yield
    till.standin.holds_after = till.standin.fails_after = till.standin.hides_after = None
    till.standin.token_seconds = 0.0
    till.standin.broken = till.standin.cached = till.standin.countless = False
    till.running.wait_ready()
    till.free()


def _most(name: str, body: dict[str, Any]) -> tuple[int, int]:
    endpoint, _ = BODIES[name]
    cost = most(parse(endpoint, parse_body(json.dumps(body).encode())), MAX_MODEL_LEN)
    return cost.prompt, cost.completion


def _metered(event: dict[str, Any]) -> tuple[int, int]:
    return event["prompt_tokens"], event["completion_tokens"]


@pytest.mark.parametrize("cached", [False, True], ids=["plain", "cached"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", BODIES)
def test_a_finished_answer_costs_what_the_engine_counted(
    till: Till, name: str, stream: bool, cached: bool
) -> None:
    if stream and name not in STREAMED:
        stream = False
    endpoint, body = BODIES[name]
    till.standin.cached = cached
    before = till.estimated()
    with till.http() as http:
        user = {"metadata": {"user_id": "ann"}} if name == "messages" else {"user": "ann"}
        extra = {"stream": stream, **user} if name != "generate" else {}
        answer = http.post(endpoint.path, json={**body, **extra})
    assert answer.status_code == 200
    request_id = answer.headers["x-request-id"]
    event = till.event(request_id)
    assert _metered(event) == till.standin.answered[request_id]
    sequences = {"chat, three answers": 3, "completions, six answers": 6}.get(name, 1)
    assert event["sequences"] == sequences
    assert event["key_id"] == till.key_id
    payer = TenantAdmin(till.registry.database, who="tester").show("payer")[0]
    assert event["user"] == (payer.pseudonym("ann") if name != "generate" else "")
    assert bool(event["cached_tokens"]) is cached
    assert event["estimated"] is False
    assert event["endpoint"] == endpoint.path
    assert till.estimated() == before


@pytest.mark.parametrize("name", STREAMED)
def test_a_stream_that_is_left_costs_at_least_what_was_sent(till: Till, name: str) -> None:
    endpoint, body = BODIES[name]
    till.standin.holds_after = 3
    seen = 0
    with (
        till.http() as http,
        http.stream("POST", endpoint.path, json={**body, "stream": True}) as answer,
    ):
        request_id = answer.headers["x-request-id"]
        for line in answer.iter_lines():
            seen += ("delta" in line and line.startswith("data:")) or '"text":' in line
            if seen >= 3:
                break
    event = till.event(request_id)
    till.free()
    prompt, made = till.standin.counted[request_id]
    assert event["status"] == 499
    assert event["prompt_tokens"] >= prompt
    if endpoint in (RESPONSES, MESSAGES):  # which do not count as they go
        assert event["estimated"] is True
    # What the engine had made when it heard of it may not have been on its way yet.
    assert event["completion_tokens"] >= min(3, made)
    assert event["completion_tokens"] <= max(made, _most(name, body)[1])


def test_a_stream_of_chat_that_is_left_pays_for_what_no_event_has_shown(till: Till) -> None:
    """Tools: the engine's parser keeps everything back until a call's name is known."""
    till.standin.hides_after, till.standin.token_seconds = 2, 0.01
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    messages = [{"role": "user", "content": "hello"}]
    body = {"model": "m", "messages": messages, "tools": [tool], "max_tokens": 1500}
    with (
        till.http() as http,
        http.stream("POST", CHAT.path, json={**body, "stream": True}) as answer,
    ):
        request_id = answer.headers["x-request-id"]
        seen = (line for line in answer.iter_lines() if "delta" in line)
        next(seen), next(seen)
        deadline = time.monotonic() + 60
        while till.standin.counted[request_id][1] < 40:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    event = till.event(request_id)
    till.free()
    assert (event["status"], event["estimated"]) == (499, True)
    assert event["completion_tokens"] >= till.standin.counted[request_id][1] >= 40


@pytest.mark.parametrize("name", BODIES)
def test_a_whole_answer_that_is_left_costs_the_most_it_can_be(till: Till, name: str) -> None:
    endpoint, body = BODIES[name]
    till.standin.holds_after = 0
    before, asked = till.estimated(), set(till.standin.counted)
    key = (("authorization", f"Bearer {till.key}"),)
    with raw.connected(till.running.url) as client:
        client.sendall(raw.request("POST", endpoint.path, headers=key, body=body))
        deadline = time.monotonic() + 60
        while not (left := set(till.standin.counted) - asked):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    (request_id,) = left
    event = till.event(request_id)
    assert event["status"] == 499
    assert event["estimated"] is True
    assert _metered(event)[0] >= till.standin.counted[request_id][0]
    assert _metered(event)[1] == _most(name, body)[1]
    assert till.estimated() == before + 1


@pytest.mark.parametrize("name", STREAMED)
def test_a_stream_that_breaks_costs_what_was_made(till: Till, name: str) -> None:
    endpoint, body = BODIES[name]
    till.standin.holds_after = 4
    seen = 0
    with (
        till.http() as http,
        http.stream("POST", endpoint.path, json={**body, "stream": True}) as answer,
    ):
        request_id = answer.headers["x-request-id"]
        for line in answer.iter_lines():
            seen += line.startswith("data:")
            if seen == 4:
                till.standin.broken = True
    event = till.event(request_id)
    prompt, made = till.standin.counted[request_id]
    assert event["status"] == 503
    assert event["prompt_tokens"] >= prompt
    assert event["completion_tokens"] >= made


@pytest.mark.parametrize("name", STREAMED)
def test_a_stream_that_the_engine_fails_in_is_a_failure(till: Till, name: str) -> None:
    """It has answered 200 by then, and says what happened in its own words."""
    endpoint, body = BODIES[name]
    till.standin.fails_after = 3
    with till.http() as http:
        answer = http.post(endpoint.path, json={**body, "stream": True})
    assert answer.status_code == 200
    lines = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    errors = [json.loads(line[6:]) for line in lines if '"error"' in line]
    (error,) = errors
    assert lines[-1][6:] == json.dumps(error, ensure_ascii=False)
    assert error["error"]["message"].startswith("the engine failed in its answer")
    assert "10.0.0.3" not in answer.text
    assert "/root" not in answer.text
    event = till.event(answer.headers["x-request-id"])
    prompt, made = till.standin.counted[event["request_id"]]
    assert event["status"] == 503
    assert event["prompt_tokens"] >= prompt
    assert made == 3
    if endpoint in (CHAT, COMPLETIONS):  # which count as they go
        assert event["completion_tokens"] == made
    else:
        assert made <= event["completion_tokens"] <= _most(name, body)[1]


@pytest.mark.parametrize("name", BODIES)
def test_a_failure_that_comes_as_an_answer_is_none(till: Till, name: str) -> None:
    endpoint, body = BODIES[name]
    till.standin.fails_after = 3
    with till.http() as http:
        answer = http.post(endpoint.path, json=body)
    assert answer.status_code == 503
    assert "10.0.0.3" not in answer.text
    event = till.event(answer.headers["x-request-id"])
    assert event["status"] == 503
    assert (event["prompt_tokens"], event["completion_tokens"]) == (0, 0)
    assert not event["estimated"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", BODIES)
def test_an_answer_without_a_count_costs_the_most_it_can_be(
    till: Till, name: str, stream: bool
) -> None:
    endpoint, body = BODIES[name]
    till.standin.countless = True
    before = till.estimated()
    full = {**body, "stream": True} if stream and name in STREAMED else body
    with till.http() as http:
        answer = http.post(endpoint.path, json=full)
    assert answer.status_code == 200
    event = till.event(answer.headers["x-request-id"])
    assert event["estimated"] is True
    assert event["completion_tokens"] == _most(name, full)[1]
    assert event["prompt_tokens"] >= till.standin.counted[event["request_id"]][0]
    assert till.estimated() == before + 1


def test_a_refusal_costs_nothing_and_leaves_no_row(till: Till) -> None:
    """Else a tenant that is refused fills the index, which nothing may prune."""
    with till.http() as http:
        refused = [
            http.post(CHAT.path, json={**BODIES["chat"][1], **fields})
            for fields in ({"model": "nobody"}, {"stream": "yes"}, {"n": 17}, {"max_tokens": 0})
        ]
        by_engine = http.post(CHAT.path, json={**BODIES["chat"][1], "max_tokens": 10**9})
    assert [answer.status_code for answer in refused] == [404, 400, 400, 400]
    event = till.event(by_engine.headers["x-request-id"])
    assert (event["status"], _metered(event)) == (400, (0, 0))
    with till.registry.database.read() as connection:
        ids = set(connection.scalars(sa.select(usage_events.c.request_id)))
    assert ids.isdisjoint(answer.headers["x-request-id"] for answer in refused)


def test_counting_tokens_costs_none(till: Till) -> None:
    before = till.estimated()
    with till.http() as http:
        answer = http.post(COUNT_TOKENS.path, json={"model": "m", "messages": HELLO})
    assert answer.status_code == 200
    assert answer.json()["input_tokens"] > 5
    assert answer.headers["x-adapter-ref"] == "m"
    event = till.event(answer.headers["x-request-id"])
    assert (_metered(event), event["estimated"], till.estimated()) == ((0, 0), False, before)


def test_the_sums_are_the_events(till: Till) -> None:
    with till.http() as http:
        till.event(http.post(CHAT.path, json=BODIES["chat"][1]).headers["x-request-id"])
    columns = ("prompt_tokens", "completion_tokens")
    with till.registry.database.read() as connection:
        days, events = (
            connection.execute(
                sa.select(sa.func.count(), *(sa.func.sum(table.c[name]) for name in columns))
            ).one()[1:]
            for table in (usage_days, usage_events)
        )
    assert tuple(days) == tuple(events)
    assert min(days) > 0
