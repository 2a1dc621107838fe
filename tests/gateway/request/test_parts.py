"""A list of prompts that is longer than the engine is wide: one answer, made in turns."""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from adapterworks.gateway.config.tables import FairnessTable, GatewayConfig, TrustTable
from adapterworks.gateway.metering.usage import usage
from adapterworks.gateway.request.body import Body
from adapterworks.gateway.request.cost import most
from adapterworks.gateway.request.endpoints import CHAT, COMPLETIONS, Call, parse
from adapterworks.gateway.request.parts import in_parts, put_together
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Loop, Running
from tests.registry.releases import publish

PATH = "/v1/completions"
HELLO = [{"role": "user", "content": "hello"}]
USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def call(**fields: object) -> Call:
    body = {"model": "m", "prompt": ["a", "b", "c", "d", "e"], **fields}
    return parse(COMPLETIONS, Body(body, 500, oversized=False))


def test_a_list_is_cut_into_what_fits() -> None:
    assert [part.asked.prompt for part in in_parts(call(), 2)] == [["a", "b"], ["c", "d"], ["e"]]  # type: ignore[attr-defined]
    assert [part.payload["prompt"] for part in in_parts(call(n=2), 5)] == [
        ["a", "b"], ["c", "d"], ["e"],
    ]  # fmt: skip
    assert [part.asked.sequences for part in in_parts(call(n=2), 5)] == [4, 4, 2]
    for part in in_parts(call(prompt=["a" * 5000, "b", "c", "é" * 9000, "e"]), 2):
        text = "".join(part.payload["prompt"])
        assert most(part, 10**6).prompt >= len(text.encode())
        assert part.size < len(text.encode()) + 30
    ids = call(prompt=[[1, 2], [3], [4]])
    assert [part.payload["prompt"] for part in in_parts(ids, 1)] == [[[1, 2]], [[3]], [[4]]]


def test_what_fits_or_cannot_be_cut_is_asked_as_it_is() -> None:
    for whole in (
        call(prompt=["a", "b"]),
        call(n=3),
        call(prompt="one text", n=3),
        call(prompt=[1, 2, 3], n=3),
        parse(CHAT, Body({"model": "m", "messages": HELLO, "n": 3}, 9, oversized=False)),
    ):
        assert in_parts(whole, 2) == [whole]


def test_the_answers_are_put_together_in_order() -> None:
    parts = in_parts(call(n=2), 4)
    answers = [
        {
            "id": f"cmpl-{number}",
            "choices": [{"index": i, "text": f"{number}.{i}"} for i in range(part.asked.sequences)],
            "usage": {"prompt_tokens": 10, "completion_tokens": number, "total_tokens": 10},
        }
        for number, part in enumerate(parts, 1)
    ]
    whole = put_together(answers, parts)
    assert whole["id"] == "cmpl-1"
    assert [choice["index"] for choice in whole["choices"]] == list(range(10))
    assert [c["text"] for c in whole["choices"]][3:6] == ["1.3", "2.0", "2.1"]
    assert whole["usage"] == {"prompt_tokens": 30, "completion_tokens": 6, "total_tokens": 30}


class Tiring(StandIn):
    """An engine that refuses, or keeps one waiting, after some answers; or knows no streams."""

    answers_left: int | None = None
    whole = False
    says: Any = None  # instead of an answer, with a status of 200
    waits_after: int | None = None

    async def _generate(self, request: Request) -> Response:
        while self.waits_after == 0:  # noqa: ASYNC110 (a test changes it)
            await asyncio.sleep(0.01)
        if self.waits_after:
            self.waits_after -= 1
        if self.says is not None:
            self.bodies.append({})
            return JSONResponse(self.says)
        if self.whole:
            choices = [{"index": 0, "text": "x"}]
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            self.bodies.append({})
            return JSONResponse({"choices": choices, "usage": usage})
        if self.answers_left == 0:
            return JSONResponse({"error": {"message": "no more"}}, 400)
        if self.answers_left:
            self.answers_left -= 1
        return await super()._generate(request)


@pytest.fixture(scope="module")
def narrow(
    loop: Loop, base: Base, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Running, Tiring, TenantAdmin]]:
    """An engine that works on four sequences at once."""
    home = Path(tmp_path_factory.mktemp("narrow"))
    registry = Registry.open(
        database=f"sqlite:///{home / 'index.db'}", blobs=str(home / "blobs"), home=home
    )
    publish(registry, home, 1, name="medical", alias="prod", base=base.identity)
    launcher, standin = Launcher(loop), Tiring(base.name)
    running = launcher.gateway(
        registry,
        [launcher.standin(base, standin)],
        home / "spool",
        GatewayConfig(trust=TrustTable(proof="off"), fairness=FairnessTable(slots=4)),
    )
    running.wait_ready()
    yield running, standin, TenantAdmin(registry.database, who="tester")
    launcher.close()
    registry.close()


def _post(running: Running, key: str, **fields: object) -> httpx.Response:
    body = {"model": "medical", "max_tokens": 3, **fields}
    with running.http(key) as http:
        while (answer := http.post(PATH, json=body)).status_code == 401:
            pass  # the key is new
        return answer


def test_twenty_prompts_are_one_answer_and_one_bill(
    narrow: tuple[Running, Tiring, TenantAdmin],
) -> None:
    running, standin, admin = narrow
    key = admin.add("lists", allow=("*",), limits=Limits(rpm=1000, tpm=10**6))[1].text
    prompts = [f"prompt number {number}" for number in range(20)]
    answer = _post(running, key, prompt=prompts)
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert [choice["index"] for choice in made["choices"]] == list(range(20))
    assert made["model"] == "medical"
    assert standin.most_working <= 4
    assert [body["prompt"] for body in standin.bodies] == [
        prompts[at : at + 4] for at in range(0, 20, 4)
    ]
    assert made["usage"]["completion_tokens"] == 60 == standin.completion_tokens
    assert made["usage"]["prompt_tokens"] == standin.prompt_tokens
    assert _totals(running, "lists", 1) == (standin.prompt_tokens, 60)


def test_a_list_of_texts_is_embedded_in_turns(
    narrow: tuple[Running, Tiring, TenantAdmin],
) -> None:
    running, standin, admin = narrow
    key = admin.add("vectors", allow=("*",), limits=Limits(max_concurrency=3))[1].text
    standin.embeds, standin.most_working = True, 0
    before, read = len(standin.bodies), standin.prompt_tokens
    texts = ["x" * number for number in range(1, 11)]
    with running.http(key) as http:
        body = {"model": "medical", "input": texts}
        while (answer := http.post("/v1/embeddings", json=body)).status_code == 401:
            pass  # the key is new
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert [(one["index"], one["embedding"]) for one in made["data"]] == [
        (number, [number + 1.0]) for number in range(10)
    ]
    assert (made["object"], made["model"]) == ("list", "medical")
    assert made["usage"] == {"prompt_tokens": 55, "total_tokens": 55, "completion_tokens": 0}
    assert [body["input"] for body in standin.bodies[before:]] == [
        texts[:3], texts[3:6], texts[6:9], texts[9:],
    ]  # fmt: skip
    assert standin.most_working == 3
    assert _totals(running, "vectors", 1) == (55, 0) == (standin.prompt_tokens - read, 0)


def test_no_more_at_once_than_the_tenant_may_have(
    narrow: tuple[Running, Tiring, TenantAdmin],
) -> None:
    running, standin, admin = narrow
    key = admin.add("two", allow=("*",), limits=Limits(max_concurrency=2))[1].text
    standin.most_working = 0
    assert _post(running, key, prompt=["x"] * 5).status_code == 200
    assert standin.most_working == 2


def test_a_part_that_is_refused_costs_nothing_and_those_before_it_do(
    narrow: tuple[Running, Tiring, TenantAdmin],
) -> None:
    running, standin, admin = narrow
    key = admin.add("half", allow=("*",), limits=Limits())[1].text
    assert _post(running, key, prompt=["x"]).status_code == 200
    before = standin.prompt_tokens, standin.completion_tokens
    standin.answers_left = 1
    try:
        refused = _post(running, key, prompt=["x"] * 8)
    finally:
        standin.answers_left = None
    assert refused.status_code == 400
    assert refused.json()["error"]["message"] == "no more"
    spent = standin.prompt_tokens - before[0], standin.completion_tokens - before[1]
    assert spent[1] == 12
    assert _totals(running, "half", 2) == (spent[0] + spent[0] // 4, 15)


def test_what_cannot_be_cut_is_refused_with_what_helps(
    narrow: tuple[Running, Tiring, TenantAdmin],
) -> None:
    running, _, admin = narrow
    key = admin.add("wide", allow=("*",), limits=Limits())[1].text
    for fields in (
        {"prompt": "x", "n": 5},
        {"prompt": "x", "n": 5, "stream": True},
        {"prompt": ["x", "y"], "n": 5, "stream": True},
    ):
        refused = _post(running, key, **fields)
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == "n"
        assert "the engine works on 4" in refused.json()["error"]["message"]


def _streamed(running: Running, key: str, **fields: object) -> tuple[list[dict[str, Any]], str]:
    """The events of a stream, and its last line."""
    answer = _post(running, key, stream=True, **fields)
    assert answer.status_code == 200, answer.text
    *events, last = [line[6:] for line in answer.text.splitlines() if line]
    return [json.loads(event) for event in events], last


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("keep", ["none", "last", "all"])
def test_a_list_that_is_streamed_is_one_stream_and_one_bill(
    narrow: tuple[Running, Tiring, TenantAdmin], keep: str, n: int
) -> None:
    running, standin, admin = narrow
    tenant = f"stream-{keep}-{n}"
    key = admin.add(tenant, allow=("*",), limits=Limits(rpm=1000, tpm=10**6))[1].text
    before = standin.prompt_tokens, standin.completion_tokens, len(standin.bodies)
    standin.most_working = 0
    prompts = [f"prompt {'long ' * number}" for number in range(11)]
    counts = {"include_usage": True, "continuous_usage_stats": keep == "all"}
    options = {} if keep == "none" else {"stream_options": counts}
    events, last = _streamed(running, key, prompt=prompts, n=n, **options)
    assert last == "[DONE]"
    bodies = standin.bodies[before[2] :]
    assert [text for body in bodies for text in body["prompt"]] == prompts
    assert standin.most_working == 4
    read, made = standin.prompt_tokens - before[0], standin.completion_tokens - before[1]
    assert made == 11 * n * 3

    shown = [choice for event in events for choice in event["choices"]]
    turns = [choice["index"] // 4 for choice in shown]
    assert turns == sorted(turns)
    assert Counter(choice["index"] for choice in shown) == dict.fromkeys(range(11 * n), 3)
    assert len({(event["id"], event["created"], event["model"]) for event in events}) == 1
    whole = [event["usage"] for event in events if event["choices"] == []]
    sums = {"prompt_tokens": read, "completion_tokens": made, "total_tokens": read + made}
    assert whole == ([] if keep == "none" else [sums])
    each = [event["usage"] for event in events if event["choices"] and "usage" in event]
    assert len(each) == (made if keep == "all" else 0)
    assert _totals(running, tenant, 1) == (read, made)


def test_a_stream_whose_later_part_is_refused_says_so_and_costs_what_was_made(
    narrow: tuple[Running, Tiring, TenantAdmin],
) -> None:
    running, standin, admin = narrow
    key = admin.add("halfway", allow=("*",), limits=Limits())[1].text
    before = standin.prompt_tokens, standin.completion_tokens
    standin.answers_left = 1
    try:
        answer = _post(running, key, prompt=["x"] * 8, stream=True)
    finally:
        standin.answers_left = None
    lines = [line[6:] for line in answer.text.splitlines() if line]
    assert len(lines) == 13
    assert json.loads(lines[-1])["error"]["message"] == "no more"
    spent = standin.prompt_tokens - before[0], standin.completion_tokens - before[1]
    assert spent[1] == 12
    assert _totals(running, "halfway", 1) == spent
    assert _idle(running)


def test_a_whole_answer_to_a_part_of_a_stream_is_none(
    narrow: tuple[Running, Tiring, TenantAdmin],
) -> None:
    """The client has one answer, and the engine no second question."""
    running, standin, admin = narrow
    key = admin.add("no-stream", allow=("*",), limits=Limits())[1].text
    before = len(standin.bodies)
    standin.whole = True
    try:
        answer = _post(running, key, prompt=["x"] * 8, stream=True)
        alone = _post(running, key, prompt=["x"], stream=True)
    finally:
        standin.whole = False
    assert answer.status_code == 503
    assert "cannot be read" in answer.json()["error"]["message"]
    assert alone.status_code == 200  # one that is the whole answer is passed on
    assert len(standin.bodies) == before + 2
    assert _idle(running)


@pytest.mark.parametrize(
    "said",
    [
        [],
        [{"text": "x"}],
        {"choices": [{"index": 0, "text": "x"}]},
        {"usage": USAGE},
        {"choices": 5, "usage": USAGE},
        {"choices": [5], "usage": USAGE},
        {"choices": [{"text": "x"}], "usage": USAGE},
        {"choices": [{"index": "0", "text": "x"}], "usage": USAGE},
    ],
    ids=str,
)
def test_what_is_no_answer_to_a_part_is_an_engine_that_failed(
    narrow: tuple[Running, Tiring, TenantAdmin], said: Any
) -> None:
    """It is no fault of the gateway's, and asking again may help."""
    running, standin, admin = narrow
    name = f"odd-{zlib.crc32(repr(said).encode())}"
    key = admin.add(name, allow=("*",), limits=Limits())[1].text
    standin.says = said
    try:
        answer = _post(running, key, prompt=["x"] * 8)
    finally:
        standin.says = None
    assert answer.status_code == 503
    assert "cannot be read" in answer.json()["error"]["message"]
    assert _idle(running)


@pytest.mark.parametrize("stream", [True, False])
def test_who_leaves_pays_for_the_parts_that_were_asked_and_no_others(
    narrow: tuple[Running, Tiring, TenantAdmin], stream: bool
) -> None:
    running, standin, admin = narrow
    tenant = "leaves-a-stream" if stream else "leaves-a-whole"
    key = admin.add(tenant, allow=("*",), limits=Limits())[1].text
    assert _post(running, key, prompt=["x"]).status_code == 200
    before = standin.prompt_tokens
    body = {"model": "medical", "max_tokens": 3, "prompt": ["x"] * 40, "stream": stream}
    standin.waits_after = 2
    try:
        with running.http(key) as http, pytest.raises(httpx.ReadTimeout):
            http.post(PATH, json=body, timeout=2.0)
        each = (standin.prompt_tokens - before) // 8
    finally:
        standin.waits_after = None
    prompt, completion = _totals(running, tenant, 2)
    # Of the third part nothing was heard: it is charged at its most, the seven after it at nothing.
    assert completion == 3 + 3 * 12
    assert each * 9 < prompt < each * 9 + 4 * 300
    assert _idle(running)


def _idle(running: Running) -> bool:
    """Whether no turn is held, soon."""
    deadline = time.monotonic() + 30
    queue = running.gateway.queue(running.gateway.pool.engines[0])
    while queue.running and time.monotonic() < deadline:
        time.sleep(0.02)
    return not queue.running


def _totals(running: Running, tenant: str, requests: int) -> tuple[int, int]:
    """Prompt and completion tokens, once there are as many requests."""
    database = running.gateway.registry.database
    deadline = time.monotonic() + 60
    while True:
        rows = usage(database, by=("tenant",), tenant=tenant)
        if rows and rows[0].requests == requests:
            return rows[0].prompt_tokens, rows[0].completion_tokens
        assert time.monotonic() < deadline
        time.sleep(0.05)
