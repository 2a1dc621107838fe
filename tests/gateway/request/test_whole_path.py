"""A request's whole path with nothing real behind it: who answers, under which name, at whose cost.

The engine is the stand-in, so that what it is sent can be read off it; releases are a few bytes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.testclient import TestClient

from adapterworks.gateway.config.tables import GatewayConfig, HttpTable, ShadowTable, TrustTable
from adapterworks.gateway.engines.target import ServedBase
from adapterworks.gateway.http.app import create_app
from adapterworks.gateway.metering.event import UsageEvent
from adapterworks.gateway.request import shadow
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.keys import key_id_of
from adapterworks.gateway.tenants.tenant import Limits, Tenant
from adapterworks.registry.registry import Registry
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Loop, Running
from tests.registry.releases import BASE, publish
from tests.waiting import until

CHAT, HELLO = "/v1/chat/completions", [{"role": "user", "content": "hello"}]


@dataclass
class Engine(StandIn):
    """The stand-in, which can fail with a status of the test's choice."""

    fails: int | None = None
    says: str = "{}"
    names: dict[str, str] = field(default_factory=dict)  # headers of a failure
    fails_again: int | None = None  # so many times more, then it answers
    ends_after: int | None = None  # events of a stream, and a part of the next one

    async def _events(self, *arguments: Any) -> AsyncIterator[bytes]:
        number = 0
        async for event in super()._events(*arguments):
            if number == self.ends_after:
                yield event[:20]
                return
            yield event
            number += 1

    async def _generate(self, request: Request) -> Response:
        if self.fails is None:
            return await super()._generate(request)
        self.bodies.append(await request.json())
        status, headers = self.fails, self.names
        if self.fails_again == 0:
            self.fails, self.fails_again = None, None
        elif self.fails_again is not None:
            self.fails_again -= 1
        return PlainTextResponse(self.says, status, headers)


@dataclass
class Way:
    """The gateway, its engine, and two tenants: one may use all, one `medical` alone."""

    running: Running
    engine: Engine
    registry: Registry
    keys: dict[str, str]
    tenants: dict[str, Tenant]
    events: list[UsageEvent] = field(default_factory=list)

    def post(
        self, model: Any = "medical", path: str = CHAT, who: str = "ann", **fields: Any
    ) -> httpx.Response:
        body = {"model": model, "messages": HELLO, "max_tokens": 3, **fields}
        with self.running.http(self.keys[who]) as http:
            return http.post(path, json=body)

    def ok(self, *arguments: Any, **fields: Any) -> httpx.Response:
        answer = self.post(*arguments, **fields)
        assert answer.status_code == 200, answer.text
        return answer

    def refusals(self, who: str, reason: str) -> float:
        value = self.running.gateway.metrics.registry.get_sample_value(
            "adapters_refusals_total", {"tenant": who, "reason": reason}
        )
        return value or 0.0


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    loop, home = Loop(), Path(tmp_path_factory.mktemp("path"))
    registry = Registry.open(
        database=f"sqlite:///{home / 'index.db'}", blobs=str(home / "blobs"), home=home
    )
    for number, name in ((1, "medical"), (2, "medical"), (3, "code")):
        publish(registry, home, number, name=name, alias="prod" if number != 2 else None)
    other = BASE.model_copy(update={"digest": f"sha256:{'e' * 64}"})
    publish(registry, home, 4, name="elsewhere", alias="prod", base=other)
    admin = TenantAdmin(registry.database, who="tester")
    ann = admin.add("ann", allow=("*",), limits=Limits(rpm=10_000, tpm=1_000_000))
    bob = admin.add("bob", allow=("medical",), limits=Limits())
    carl = admin.add("carl", allow=("*",), limits=Limits(tpm=100))
    people = {"ann": ann, "bob": bob, "carl": carl}
    launcher, engine = Launcher(loop), Engine("served-base")
    running = launcher.gateway(
        registry,
        [launcher.standin(ServedBase("tiny", "tiny", BASE.digest), engine)],
        home / "spool",
        GatewayConfig(
            trust=TrustTable(proof="off"),
            http=HttpTable(body_limit=2000, body_seconds=1.0, header_limit=3000),
        ),
    )
    running.wait_ready()
    made = Way(
        running,
        engine,
        registry,
        {name: key.text for name, (_, key) in people.items()},
        {name: tenant for name, (tenant, _) in people.items()},
    )
    record = running.gateway.meter.record

    def recorded(event: UsageEvent) -> Any:
        made.events.append(event)
        return record(event)

    running.gateway.meter.record = recorded  # type: ignore[method-assign]
    yield made
    launcher.close()
    registry.close()
    loop.close()


@pytest.fixture(autouse=True)
def _settled(path: Way) -> Iterator[None]:
    yield
    path.engine.fails, path.engine.ends_after, path.engine.makes = None, None, None
    path.engine.broken, path.engine.token_seconds = False, 0.0
    path.engine.names, path.engine.fails_again = {}, None
    path.engine.bodies.clear()
    path.engine.headers.clear()
    path.events.clear()


def test_an_adapter_answers_under_its_digest_and_says_so(path: Way) -> None:
    digest = path.registry.resolve("medical").digest
    answer = path.ok("medical")
    (body,) = path.engine.bodies
    assert body["model"] == digest
    assert body["cache_salt"] == path.tenants["ann"].cache_salt
    assert answer.json()["model"] == "medical"
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.headers["x-adapter-ref"] == "medical"
    assert answer.headers["x-adapter-digest"] == digest
    assert answer.headers["x-base-digest"] == BASE.digest
    assert answer.headers["x-request-id"] == path.engine.headers[-1]["x-request-id"]
    assert answer.headers["x-ratelimit-limit-requests"] == "10000"
    assert "x-adapter-ignored" not in answer.headers
    exact = path.ok("medical@2")
    assert exact.headers["x-adapter-digest"] == path.registry.resolve("medical@2").digest != digest
    assert exact.json()["model"] == "medical@2"


def test_a_base_answers_under_the_engines_name_for_it(path: Way) -> None:
    answer = path.ok("tiny")
    assert path.engine.bodies[-1]["model"] == "served-base"
    assert path.engine.bodies[-1]["cache_salt"] == path.tenants["ann"].cache_salt
    assert answer.json()["model"] == "tiny"
    assert answer.headers["x-adapter-ref"] == "tiny"
    assert "x-adapter-digest" not in answer.headers
    assert path.events[-1].release == BASE.digest
    assert path.events[-1].ref == "tiny"


def test_a_canarys_callers_are_divided_by_tenant_and_user(path: Way) -> None:
    """The share of each is worked out here, from the sum that `resolve.py` states."""
    path.registry.promote("medical", 2, "trial", who="tester")
    path.registry.promote("medical", 1, "trial", who="tester", weight=30)
    digests = {v: path.registry.resolve(f"medical@{v}").digest for v in (1, 2)}
    tenant = path.tenants["ann"].id

    def expected(sticky: str) -> str:
        key = f"{sticky}\nmedical:trial".encode()
        point = int.from_bytes(hashlib.sha256(key).digest()[:8], "big") % 100
        return digests[1 if point < 30 else 2]

    users = [f"user {number}" for number in range(30)]
    for user in users:
        answer = path.ok("medical:trial", user=user)
        assert answer.headers["x-adapter-digest"] == expected(f"{tenant}\n{user}")
        assert path.engine.bodies[-1]["model"] == answer.headers["x-adapter-digest"]
    assert len({expected(f"{tenant}\n{user}") for user in users}) == 2
    # Whose it is nobody says: by what the conversation begins with, so that few tenants are no
    # hindrance to a small canary, and the next turn of a conversation stays on its side.
    sides = set()
    for number in range(12):
        first = {"role": "user", "content": f"question {number}"}
        side = expected(f"{tenant}\nuser\nquestion {number}")
        later = [first, {"role": "assistant", "content": "yes"}, {**first, "content": "and?"}]
        for odd in ({}, {"user": ""}, {"user": None}):
            for messages in ([first], later):
                answer = path.ok("medical:trial", messages=messages, **odd)
                assert answer.headers["x-adapter-digest"] == side
        sides.add(side)
    assert len(sides) == 2


def test_what_may_not_be_used_looks_like_what_is_not_there(path: Way) -> None:
    hidden, absent = path.post("code", who="bob"), path.post("nine", who="bob")
    assert hidden.status_code == absent.status_code == 404
    assert hidden.text.replace("`code`", "`nine`") == absent.text
    assert set(hidden.headers) == set(absent.headers)
    for model in ("medical", "medical@2", "medical:prod"):  # the name is what is allowed
        assert path.ok(model, who="bob").json()["model"] == model
    assert path.engine.bodies[-1]["cache_salt"] == path.tenants["bob"].cache_salt
    assert path.refusals("bob", "access") == 2
    assert [event.status for event in path.events] == [200] * 3  # refusals are no rows


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (7, "should be a valid string"),
        ("", "should have at least 1 character"),
        (None, "`model` is missing"),
        (["medical"], "should be a valid string"),
    ],
)
def test_a_request_names_its_model(path: Way, model: Any, words: str) -> None:
    answer = path.post(model)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "model"
    assert words in answer.json()["error"]["message"]
    assert path.events == []
    assert path.engine.bodies == []


def test_a_base_that_nobody_serves_is_said(path: Way) -> None:
    answer = path.post("elsewhere")
    assert answer.status_code == 404
    assert "no engine serves the base of `elsewhere`" in answer.json()["error"]["message"]
    assert answer.headers["x-adapter-ref"] == "elsewhere"


@pytest.mark.parametrize(
    ("options", "events", "counts"),
    [
        (None, 4, []),
        ({}, 4, []),
        ({"include_usage": False, "continuous_usage_stats": True}, 4, []),
        ({"include_usage": True}, 5, [3]),
        ({"include_usage": True, "continuous_usage_stats": True}, 5, [1, 2, 3, 3]),
    ],
)
def test_a_stream_has_the_counts_that_were_asked_for(
    path: Way, options: Any, events: int, counts: list[int]
) -> None:
    fields = {} if options is None else {"stream_options": options}
    answer = path.ok("medical", stream=True, **fields)
    assert path.engine.bodies[-1]["stream_options"] == {
        "include_usage": True, "continuous_usage_stats": True,
    }  # fmt: skip
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-adapter-digest"] == path.engine.bodies[-1]["model"]
    lines = [line for line in answer.text.split("\n\n") if line]
    assert len(lines) == events
    assert lines[-1] == "data: [DONE]"
    told = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert {event["model"] for event in told} == {"medical"}
    assert [e["usage"]["completion_tokens"] for e in told if "usage" in e] == counts
    assert (path.events[-1].completion_tokens, path.events[-1].status) == (3, 200)


@pytest.mark.parametrize("stream", [True, False])
def test_what_the_engine_counted_is_metered_once(path: Way, stream: bool) -> None:
    before = (path.engine.prompt_tokens, path.engine.completion_tokens, time.time())
    answer = path.ok("medical", stream=stream, max_tokens=5)
    (event,) = path.events
    prompt = path.engine.prompt_tokens - before[0]
    assert (event.prompt_tokens, event.completion_tokens) == (prompt, 5)
    assert event.completion_tokens == path.engine.completion_tokens - before[1]
    assert event.request_id == answer.headers["x-request-id"]
    assert event.tenant == path.tenants["ann"].id
    assert (event.release, event.ref) == (answer.headers["x-adapter-digest"], "medical@1")
    assert (event.endpoint, event.status) == (CHAT, 200)
    assert before[2] <= event.started <= time.time()
    assert 0 < event.seconds < 60


def test_the_first_request_of_an_adapter_waits_for_it(path: Way) -> None:
    publish(path.registry, path.registry.home, 9, name="late", alias="prod")
    path.ok("late")
    path.ok("late")
    assert [event.cold_load for event in path.events] == [True, False]
    assert path.engine.loads.count(path.registry.resolve("late").digest) == 1


def test_tokens_are_charged_as_they_were_counted(path: Way) -> None:
    """100 a minute: 60 asked for and 2 made leave room for the next 60, and then not for 75."""
    body = {"messages": [{"role": "user", "content": "a"}]}
    path.engine.makes = 2
    for _ in range(2):
        path.ok("medical", who="carl", max_tokens=60, **body)
    refused = path.post("medical", who="carl", max_tokens=75, **body)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["x-ratelimit-limit-tokens"] == "100"
    assert refused.headers["x-adapter-ref"] == "medical"
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert path.refusals("carl", "limit") == 1
    assert [event.completion_tokens for event in path.events] == [2, 2]
    too_large = path.post("medical", who="carl", max_tokens=200, **body)
    assert too_large.status_code == 400  # waiting would not help
    assert "and the tenant's limit is 100" in too_large.json()["error"]["message"]


def test_what_the_engine_refuses_is_told_under_the_clients_name(path: Way) -> None:
    answer = path.post("medical", max_tokens=5000)
    assert answer.status_code == 400
    assert "max_tokens must be from 1 to 2048" in answer.text
    path.engine.fails = 400
    path.engine.says = json.dumps({"error": f"no {path.registry.resolve('medical').digest}"})
    assert path.post("medical").json()["error"]["message"] == "no medical"
    assert path.events[-1].status == 400


def test_what_is_no_answer_of_the_endpoint_is_one_that_it_does_not_offer(path: Way) -> None:
    path.engine.fails, path.engine.says = 404, "Not Found"
    answer = path.post("medical", path="/v1/messages")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "`medical` does not offer `/v1/messages`"


@pytest.mark.parametrize(("status", "told"), [(500, 503), (502, 503), (499, 503), (401, 503)])
def test_an_engine_that_fails_is_told_as_ours(path: Way, status: int, told: int) -> None:
    path.engine.fails, path.engine.says = status, '{"error": "its own words"}'
    answer = path.post("medical")
    assert answer.status_code == told
    assert "its own words" not in answer.text
    assert answer.headers["retry-after"] == "1"
    assert "the engine failed to answer" in answer.json()["error"]["message"]
    assert path.events[-1].status == told


@pytest.mark.parametrize(
    ("after", "told"), [("7", "7"), ("999", "999"), ("1000", "1"), ("soon", "1"), (None, "1")]
)
def test_an_engine_that_is_busy_says_when_to_come_back(
    path: Way, after: str | None, told: str
) -> None:
    path.engine.fails, path.engine.says = 429, '{"error": "its own words"}'
    path.engine.names = {} if after is None else {"retry-after": after}
    answer = path.post("medical")
    assert answer.status_code == 503
    assert answer.json()["error"]["message"].startswith("the engine is busy")
    assert answer.headers["retry-after"] == told


def test_a_stream_that_breaks_off_ends_in_an_error(path: Way) -> None:
    path.engine.token_seconds = 0.02
    body = {"model": "medical", "messages": HELLO, "max_tokens": 500, "stream": True}
    with (
        path.running.http(path.keys["ann"]) as http,
        http.stream("POST", CHAT, json=body) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        path.engine.broken = True
        rest = [line for line in lines if line]
    error = json.loads(rest[-1].removeprefix("data: "))["error"]
    assert error["message"] == "the engine broke off its answer\n\nhint: send the request again"
    assert not any("[DONE]" in line or line.startswith("event") for line in rest)
    (event,) = path.events
    assert event.status == 503
    assert event.completion_tokens >= 1
    path.engine.broken = False
    path.running.wait_ready()


def test_a_stream_that_ends_too_soon_is_not_a_whole_one(path: Way) -> None:
    """The connection ends as it should, in the middle of the second event."""
    path.engine.ends_after = 1
    answer = path.ok("medical", stream=True)
    lines = [line for line in answer.text.split("\n\n") if line]
    assert len(lines) == 2
    assert json.loads(lines[0].removeprefix("data: "))["model"] == "medical"
    assert "broke off" in json.loads(lines[1].removeprefix("data: "))["error"]["message"]
    assert (path.events[-1].status, path.events[-1].completion_tokens) == (503, 1)


def test_fields_that_steer_the_engine_are_named_and_left_out(path: Way) -> None:
    answer = path.ok("medical", lora_path="/etc", priority=1, store=True)
    assert answer.headers["x-adapter-ignored"] == "lora_path,priority"
    assert path.engine.bodies[-1].keys() == {"model", "messages", "max_tokens", "cache_salt"}


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", 400, "the body is not JSON"),
        (b"[]", 400, "the body is not a JSON object"),
        (b'{"model": NaN}', 400, "the body is not JSON"),
        (b'{"model": "' + b"x" * 1987 + b'"}', 400, "at most 200 characters"),  # 2000 bytes
        (b'{"model": "' + b"x" * 1988 + b'"}', 413, "above 2000 bytes"),
    ],
)
def test_bodies_have_one_kind_and_a_limit(
    path: Way, content: bytes, status: int, words: str
) -> None:
    def pieces() -> Iterator[bytes]:
        yield content[:1000]
        yield content[1000:]

    with path.running.http(path.keys["ann"]) as http:
        for body in (content, pieces()):  # announced, and not
            answer = http.post(CHAT, content=body)
            assert answer.status_code == status
            assert words in answer.json()["error"]["message"]


def test_a_body_that_does_not_come_is_not_waited_for(path: Way) -> None:
    address = urlsplit(path.running.url)
    head = (
        f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {path.keys['ann']}\r\n"
        "content-length: 2\r\n\r\n{"
    )
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(head.encode())
        with connection.makefile("rb") as answer:
            text = answer.read().decode()
    assert text.startswith("HTTP/1.1 408 ")
    assert "did not arrive within 1 s" in text


def test_a_key_is_asked_for_in_either_header(path: Way) -> None:
    body = {"model": "medical", "messages": HELLO, "max_tokens": 1}
    key = path.keys["ann"]
    for headers, status in (
        ({}, 401),
        ({"authorization": "Bearer nonsense"}, 401),
        ({"authorization": f"Basic {key}"}, 401),
        ({"authorization": f"bearer  {key}"}, 200),
        ({"x-api-key": key}, 200),
        ({"authorization": "Bearer", "x-api-key": key}, 200),
        ({"authorization": f"Bearer {key}", "x-api-key": "nonsense"}, 200),
    ):
        with path.running.http() as http:
            assert http.post(CHAT, json=body, headers=headers).status_code == status, headers


def test_who_is_not_let_in_is_logged_by_the_keys_id(
    path: Way, caplog: pytest.LogCaptureFixture
) -> None:
    """A key that was revoked is known by its id; of what is no key nothing is written down."""
    admin = TenantAdmin(path.registry.database, who="tester")
    _, key = admin.add("dora", allow=("*",), limits=Limits())
    admin.remove("dora")
    body = {"model": "medical", "messages": HELLO, "max_tokens": 1}
    deadline = time.monotonic() + 60.0
    with path.running.http(key.text) as http:
        # A gateway hears of tenants as of all that changes: it may have heard of the first half.
        while http.post(CHAT, json=body).status_code != 401:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    caplog.set_level(logging.WARNING, logger="adapterworks.gateway.access")
    caplog.clear()
    for shown in (None, "nonsense", key.text):
        headers = {} if shown is None else {"x-api-key": shown}
        with path.running.http() as http:
            assert http.post(CHAT, json=body, headers=headers).status_code == 401
    told = [r.fields for r in caplog.records if r.name == "adapterworks.gateway.access"]  # type: ignore[attr-defined]
    assert [fields["status"] for fields in told] == [401] * 3
    assert [fields["key_id"] for fields in told] == ["", "", key_id_of(key.text)]
    assert [fields["client"] for fields in told] == ["127.0.0.1"] * 3


def test_generate_is_chat_under_another_shape(path: Way) -> None:
    ask = {"adapter": "medical", "prompt": "hello", "max_tokens": 2, "temperature": 0}
    with path.running.http(path.keys["ann"]) as http:
        answer = http.post("/generate", json=ask)
        body = path.engine.bodies[-1]
        assert body["messages"] == HELLO
        assert (body["max_tokens"], body["temperature"]) == (2, 0)
        assert answer.json().keys() == {"adapter", "text", "response", "generation_time", "usage"}
        assert answer.json()["response"] == answer.json()["text"]
        assert 0 < answer.json()["generation_time"] < 60
        assert answer.json()["adapter"] == "medical"
        assert answer.json()["text"].count("-") == 2
        assert answer.json()["usage"]["completion_tokens"] == 2
        assert int(answer.headers["content-length"]) == len(answer.content)
        assert answer.headers["x-adapter-digest"] == body["model"]
        for wrong, words in (
            ({**ask, "stream": True}, "unknown field `stream`"),
            ({**ask, "prompt": 7}, "`prompt` should be a valid string"),
            ({"prompt": "x"}, "`adapter` is missing"),
            ({"adapter": "medical"}, "`query` is missing"),
            ({**ask, "query": "x"}, "`query` is `prompt` under another name"),
        ):
            refused = http.post("/generate", json=wrong)
            assert refused.status_code == 400
            assert words in refused.json()["error"]["message"]
        path.engine.fails, path.engine.says = 400, '{"error": {"message": "no"}}'
        assert http.post("/generate", json=ask).json()["error"]["message"] == "no"


def test_a_service_of_before_is_called_as_before(
    path: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = {
        "query": "hello",
        "system_prompt": "Be brief",
        "max_tokens": 2,
        "temperature": 0.5,
        "top_p": 0.9,
    }
    gateway = path.running.gateway
    named = gateway.config.model_copy(update={"default_adapter": "medical"})
    with path.running.http(path.keys["ann"]) as http:
        refused = http.post("/generate", json=ask)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "adapter")
        monkeypatch.setattr(gateway, "config", named)
        answer = http.post("/generate", json=ask)
        body = path.engine.bodies[-1]
        assert body["messages"] == [{"role": "system", "content": "Be brief"}, *HELLO]
        assert (body["max_tokens"], body["temperature"], body["top_p"]) == (2, 0.5, 0.9)
        assert {"response", "generation_time"} < answer.json().keys()
        assert answer.json()["adapter"] == "medical"
        assert answer.headers["x-adapter-digest"] == body["model"]
        # Who names one is answered by that one.
        assert http.post("/generate", json={**ask, "adapter": "code"}).json()["adapter"] == "code"
        assert http.get("/health").json() == {"status": "ok", "model_loaded": True}
        bob = {"authorization": f"Bearer {path.keys['bob']}"}
        monkeypatch.setattr(gateway, "config", named.model_copy(update={"default_adapter": "code"}))
        assert http.post("/generate", json=ask, headers=bob).status_code == 404


def test_tokens_are_the_bases_and_load_no_adapter(path: Way) -> None:
    loads = len(path.engine.loads)
    with path.running.http(path.keys["ann"]) as http:
        for name in ("medical@1", "medical@2", "code", "tiny"):
            made = http.post("/tokenize", json={"model": name, "prompt": "ab c"})
            assert made.json() == {"count": 4, "max_model_len": 2048, "tokens": [97, 98, 32, 99]}
            assert path.engine.bodies[-1] == {"model": path.engine.base, "prompt": "ab c"}
            assert "x-adapter-digest" not in made.headers
            assert made.headers["x-base-digest"]
            back = http.post("/detokenize", json={"model": name, "tokens": [97, 98]})
            assert back.json() == {"prompt": "ab"}
        assert path.engine.bodies[-1]["model"] == path.engine.base
        assert len(path.engine.loads) == loads
        for wrong in ({"prompt": "a", "messages": HELLO}, {}, {"prompt": "a", "stream": True}):
            assert http.post("/tokenize", json={"model": "tiny", **wrong}).status_code == 400
        for tokens in (["a"], [-1], 5):
            body = {"model": "tiny", "tokens": tokens}
            assert http.post("/detokenize", json=body).status_code == 400
        bob = {"authorization": f"Bearer {path.keys['bob']}"}
        hidden = http.post("/tokenize", json={"model": "code", "prompt": "a"}, headers=bob)
        assert hidden.status_code == 404


def test_what_costs_nothing_takes_turns_all_the_same(path: Way) -> None:
    """Who is served least is next: a flood of what is free would be next for ever, and the engine
    nobody else's."""
    path.ok("medical")
    (queue,) = path.running.gateway.fleet.queues.values()
    ann = queue._tenants[path.tenants["ann"].id]
    free = {"model": "tiny", "prompt": "a" * 1500}
    refused = {"model": "tiny", "prompt": "a", "max_tokens": 1}
    path.engine.fails, path.engine.says = 400, '{"error": {"message": "no"}}'
    with path.running.http(path.keys["ann"]) as http:
        for url, body, status, least in (
            ("/tokenize", free, 200, 16 + 1500 // 256),
            ("/v1/completions", refused, 400, 16),
        ):
            until(lambda: not queue.running)  # what was asked before is charged
            before = ann.counter
            for _ in range(3):
                assert http.post(url, json=body).status_code == status
            until(lambda: not queue.running)
            assert 3 * least <= ann.counter - before < 3 * least + 6
    path.engine.fails = None


def test_a_base_that_generates_says_that_it_makes_no_embeddings(path: Way) -> None:
    with path.running.http(path.keys["ann"]) as http:
        answer = http.post("/v1/embeddings", json={"model": "medical", "input": "x"})
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert "`medical` makes no embeddings: its base generates text" in error["message"]


def test_models_say_how_much_they_can_read_and_what_they_are_for(path: Way) -> None:
    with path.running.http(path.keys["ann"]) as http:
        models = {model["id"]: model for model in http.get("/v1/models").json()["data"]}
        medical = http.get("/v1/models/medical").json()
    assert models["tiny"]["max_model_len"] == path.running.gateway.pool.engines[0].context
    assert "card" not in models["tiny"]
    release = path.registry.release(path.registry.resolve("medical").digest)
    assert models["medical"]["max_model_len"] == models["tiny"]["max_model_len"]
    assert models["medical"]["card"] == {
        "digest": release.digest,
        "description": release.description,
        "license": release.license,
        "tags": [*release.tags],
        "method": release.method,
        "metrics": release.metrics,
    }
    assert medical["card"] == models["medical"]["card"]
    # Of a base that nobody serves here.
    assert models["elsewhere"]["max_model_len"] is None


def test_models_say_which_of_them_no_engine_here_can_load(
    path: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one on several devices, which takes no virtual tokens."""
    (engine,) = path.running.gateway.pool.engines
    monkeypatch.setattr(engine, "forms", frozenset({"prefix"}))
    with path.running.http(path.keys["ann"]) as http:
        models = {model["id"]: model for model in http.get("/v1/models").json()["data"]}
        assert http.get("/v1/models/medical").json()["max_model_len"] is None
    assert models["medical"]["max_model_len"] is None
    assert models["tiny"]["max_model_len"] == engine.context


def test_scripts_of_pages_that_are_named_may_call_and_no_others(path: Way) -> None:
    """A second application of the same gateway: origins are read when it is made."""
    http = path.running.gateway.config.http.model_copy(
        update={"cors_origins": ("https://app.example",)}
    )
    gateway = replace(
        path.running.gateway, config=path.running.gateway.config.model_copy(update={"http": http})
    )
    preflight = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    with TestClient(create_app(gateway)) as page:
        for origin, allowed in (("https://app.example", True), ("https://else.example", False)):
            asked = page.options(CHAT, headers={**preflight, "origin": origin})
            assert asked.is_success is allowed
            answer = page.get("/health", headers={"origin": origin})
            told = answer.headers.get("access-control-allow-origin")
            assert told == (origin if allowed else None)
            refused = page.post(CHAT, json={}, headers={"origin": origin})
            assert refused.status_code == 401
            assert (refused.headers.get("access-control-allow-origin") == origin) is allowed
    with path.running.http() as plain:
        headers = {**preflight, "origin": "https://app.example"}
        assert plain.options(CHAT, headers=headers).status_code == 405


def test_a_stream_that_is_silent_gets_comments_between_its_events(
    path: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = path.running.gateway
    http = gateway.config.http.model_copy(update={"keep_alive_seconds": 0.01})
    config = gateway.config.model_copy(update={"http": http})
    plain = path.ok(stream=True, temperature=0).text
    assert ": keep-alive" not in plain
    monkeypatch.setattr(gateway, "config", config)
    monkeypatch.setattr(path.engine, "token_seconds", 0.1)
    slow = path.ok(stream=True, temperature=0).text
    assert ": keep-alive\n\n" in slow
    events = [e for e in slow.split("\n\n") if e and not e.startswith(":")]
    assert all(event.startswith("data: ") for event in events)
    assert len(events) == len([e for e in plain.split("\n\n") if e])
    assert slow.rstrip().endswith("data: [DONE]")


def _shadowed(path: Way, monkeypatch: pytest.MonkeyPatch, **table: Any) -> Callable[[], None]:
    """Shadow `medical`; returns a wait for what is under way."""
    tables = (ShadowTable(adapter="medical", to="code:prod", **table),)
    gateway = path.running.gateway
    monkeypatch.setattr(gateway, "config", gateway.config.model_copy(update={"shadow": tables}))

    def wait() -> None:
        deadline = time.monotonic() + 60
        while gateway.background:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    return wait


def test_a_shadow_is_asked_the_same_and_costs_nothing(
    path: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = _shadowed(path, monkeypatch)
    answer = path.ok("medical", stream=True, stream_options={"include_usage": True}, user="u")
    assert "code" not in answer.text
    wait()
    code = path.registry.resolve("code").digest
    bodies = {body["model"]: body for body in path.engine.bodies}
    assert bodies.keys() == {code, path.registry.resolve("medical").digest}
    assert bodies[code] == {
        "model": code, "messages": HELLO, "max_tokens": 3, "user": "u", "cache_salt": "shadow",
    }  # fmt: skip
    assert len(path.events) == 1
    path.ok("code")
    path.ok("tiny")
    wait()
    assert len(path.engine.bodies) == 4


@pytest.mark.parametrize(("drawn", "shadows"), [(0.29, 1), (0.3, 0), (0.9, 0)])
def test_a_shadow_is_of_a_share(
    path: Way, monkeypatch: pytest.MonkeyPatch, drawn: float, shadows: int
) -> None:
    wait = _shadowed(path, monkeypatch, share=0.3)
    monkeypatch.setattr(random, "random", lambda: drawn)
    path.ok("medical")
    wait()
    assert len(path.engine.bodies) == 1 + shadows


def test_shadows_are_left_out_when_too_many_are_under_way(
    path: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = _shadowed(path, monkeypatch)
    monkeypatch.setattr(shadow, "MOST_UNDER_WAY", 0)
    path.ok("medical")
    monkeypatch.setattr(shadow, "MOST_UNDER_WAY", 1)
    wait()
    assert len(path.engine.bodies) == 1
    path.ok("medical")
    wait()
    assert len(path.engine.bodies) == 3


def test_a_shadow_that_fails_is_nobodys_trouble(path: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    wait = _shadowed(path, monkeypatch)
    tables = (ShadowTable(adapter="medical", to="nine:prod"),)
    gateway = path.running.gateway
    monkeypatch.setattr(gateway, "config", gateway.config.model_copy(update={"shadow": tables}))
    assert path.ok("medical").json()["model"] == "medical"
    wait()
    assert len(path.engine.bodies) == 1


def test_when_the_gateway_itself_fails_it_says_so_and_counts_it(
    path: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(shadow, "consider", fail)
    answer = path.post("medical")
    assert answer.status_code == 500
    assert "ZeroDivision" not in answer.text
    assert path.events == []  # the engine was not asked
    metrics = path.running.gateway.metrics.registry
    labels = {"tenant": "ann", "adapter": "medical", "endpoint": CHAT, "status": "500"}
    deadline = time.monotonic() + 60
    while metrics.get_sample_value("adapters_requests_total", labels) != 1.0:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_request_that_was_left_is_counted_as_that(path: Way) -> None:
    path.engine.token_seconds = 0.05
    body = {"model": "medical", "messages": HELLO, "max_tokens": 500, "stream": True}
    with (
        path.running.http(path.keys["ann"]) as http,
        http.stream("POST", CHAT, json=body) as answer,
    ):
        next(answer.iter_lines())
    deadline = time.monotonic() + 60
    while not path.events:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (event,) = path.events
    assert event.status == 499
    assert 1 <= event.completion_tokens < 500
