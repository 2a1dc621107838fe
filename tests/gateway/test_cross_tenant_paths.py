"""A tenant tries the engine's own paths, the gateway's private ones, and HTTP itself.

Every path of vLLM 0.32 that is not an answer to a prompt is here, by every method; the stand-in
engine notes whatever reaches it.
"""

from __future__ import annotations

import json

import pytest

from tests.gateway import raw
from tests.gateway.neighbours import CHAT, HELLO, Neighbours, code

BODY = {"model": "enterprise-kb", "messages": HELLO, "max_tokens": 1}


ENGINE_PATHS = [
    "/abort_requests",
    "/adapters",
    "/classify",
    "/collective_rpc",
    "/docs",
    "/fault_tolerance/apply",
    "/fault_tolerance/status",
    "/finish_weight_update",
    "/get_world_size",
    "/inference/v1/generate",
    "/init_weight_transfer_engine",
    "/invocations",
    "/is_paused",
    "/is_scaling_elastic_ep",
    "/is_sleeping",
    "/kv_event_sources",
    "/load",
    "/pause",
    "/ping",
    "/pooling",
    "/redoc",
    "/release_kv_cache_memory",
    "/render",
    "/rerank",
    "/reset_encoder_cache",
    "/reset_mm_cache",
    "/reset_prefix_cache",
    "/resume",
    "/scale_elastic_ep",
    "/score",
    "/server_info",
    "/shutdown_weight_transfer_engine",
    "/sleep",
    "/start_profile",
    "/start_weight_update",
    "/stop_profile",
    "/tokenizer_info",
    "/update_weight_version",
    "/update_weights",
    "/v1/audio/transcriptions",
    "/v1/load_lora_adapter",
    "/v1/realtime",
    "/v1/rerank",
    "/v1/score",
    "/v1/unload_lora_adapter",
    "/v2/embed",
    "/v2/rerank",
    "/version",
    "/wake_up",
    "/weight_checker",
    "/weight_info",
]
PRIVATE_PATHS = [
    "/status",
    "/admin",
    "/tenants",
    "/v1/tenants",
    "/keys",
    "/v1/keys",
    "/usage",
    "/v1/files",
    "/v1/batches",
    "/v1/fine_tuning/jobs",
    "/v1/organization/usage",
    "/checkouts",
    "/static",
    "/metrics/",
    "/.env",
]
# httpx and browsers would tidy these up before they are sent.
DISGUISED = (
    "/v1/%6coad_lora_adapter",
    "/v1/load%5flora%5fadapter",
    "/v1/chat/../load_lora_adapter",
    "/v1/chat/%2e%2e/load_lora_adapter",
    "/v1/chat/completions/../../load_lora_adapter",
    "/v1/chat/completions/..%2f..%2fload_lora_adapter",
    "/v1/chat/completions%2f..%2f..%2fload_lora_adapter",
    "//v1/load_lora_adapter",
    "/v1//load_lora_adapter",
    "/./v1/load_lora_adapter",
    "/v1/load_lora_adapter/",
    "/v1/load_lora_adapter;a=b",
    "/v1/load_lora_adapter%00",
    "/v1/load_lora_adapter%20",
    "/V1/LOAD_LORA_ADAPTER",
    "/v1/chat/completions;/../../load_lora_adapter",
    "/v1/chat/completions%0d%0aPOST%20/pause",
    "/v1/chat/completions%3f/../../pause",
    "/health/../pause",
)


@pytest.mark.parametrize("path", [*ENGINE_PATHS, *PRIVATE_PATHS, *DISGUISED])
def test_a_path_that_is_not_listed_does_not_exist(two: Neighbours, path: str) -> None:
    before = two.reached()
    body = {"lora_name": "x", "lora_path": "/", "model": "medical"}
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
        answer = two.ask(method, path, None if method == "GET" else body)
        assert answer.status == 404
        assert json.loads(answer.body)["error"]["type"] == "not_found_error"
    assert two.reached() == before


def test_the_path_of_one_model_reaches_no_other_path(two: Neighbours) -> None:
    """`/v1/models/{model}` takes slashes, for names of bases."""
    before = two.reached()
    for name in ("../load_lora_adapter", "..%2fmetrics", "enterprise-kb/../medical", "%6dedical"):
        assert two.ask("GET", f"/v1/models/{name}").status == 404
        assert two.ask("POST", f"/v1/models/{name}", {}).status == 405
    assert two.reached() == before


@pytest.mark.parametrize("path", ["/v1/chat/completions/batch", "/v1/chat/completions/render"])
def test_a_path_of_the_engine_is_the_id_of_a_stored_completion_here(
    two: Neighbours, path: str
) -> None:
    before = two.reached()
    for method, status in (("GET", 404), ("POST", 404), ("DELETE", 404), ("PUT", 405)):
        assert two.ask(method, path, None if method == "GET" else BODY).status == status
    assert two.reached() == before


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "LOCK"])
def test_a_listed_path_takes_its_own_methods_only(two: Neighbours, method: str) -> None:
    before = two.reached()
    answer = two.ask(method, CHAT, BODY, (("x-http-method-override", "POST"),))
    assert (answer.status, code(answer)) == (405, "method_not_allowed")
    assert two.ask(method, f"{CHAT}?_method=POST", BODY).status == 405
    assert two.reached() == before


def test_metrics_are_not_there_for_a_tenant_of_some_adapters(two: Neighbours) -> None:
    answers = [two.ask("GET", path) for path in ("/metrics", "/metricz")]
    assert [answer.status for answer in answers] == [404, 404]
    assert answers[0].body.replace(b"metrics", b"metricz") == answers[1].body


def test_anothers_kept_answer_cannot_be_read_or_continued(two: Neighbours) -> None:
    before = two.reached()
    for method, path in (
        ("GET", "/v1/responses/resp_1"),
        ("DELETE", "/v1/responses/resp_1"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("GET", "/v1/responses/resp_1/input_items"),
        ("GET", "/v1/chat/completions/chatcmpl-1"),
    ):
        assert two.ask(method, path).status == 404
    for field in ("previous_response_id", "conversation", "background", "prompt"):
        body = {"model": "enterprise-kb", "input": "and then?", field: "resp_1"}
        assert two.ask("POST", "/v1/responses", body).status == 400
    assert two.reached() == before


@pytest.mark.parametrize(
    "target",
    [
        "http://gateway/v1/load_lora_adapter",
        "http://127.0.0.1:{port}/pause",
        "http://localhost/metrics",
        "http://user:password@engine/v1/load_lora_adapter",
        "https://engine:443/collective_rpc",
        "gopher://engine/pause",
        "\\v1\\load_lora_adapter",
        "*",
        "http://engine/v1/chat/completions/../../pause",
    ],
)
def test_an_absolute_address_is_only_its_path(two: Neighbours, target: str) -> None:
    """A gateway that acted as a forward proxy would be a way to the engine."""
    before = two.reached()
    answer = two.ask("POST", two.fill(target), {})
    assert answer.status in (400, 404, 405)
    assert two.reached() == before


def test_connect_and_upgrades_open_no_tunnel(two: Neighbours) -> None:
    before = two.reached()
    key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
    socket = (("upgrade", "websocket"), ("sec-websocket-version", "13"), key)
    for method, target, headers in (
        ("CONNECT", "engine:80", ()),
        ("GET", "/v1/realtime", socket),
        ("GET", CHAT, socket),
        ("GET", "/metrics", (("upgrade", "h2c"), ("http2-settings", "AAMAAABkAAQAAP__"))),
    ):
        data = raw.request(method, target, headers=headers, close=False)
        data = data.replace(b"\r\n\r\n", b"\r\nconnection: upgrade, close\r\n\r\n")
        answers = raw.send(two.running.url, data + b"GET /pause HTTP/1.1\r\n\r\n")
        assert all(400 <= answer.status < 500 for answer in answers)
    assert two.reached() == before


def test_a_pipelined_request_is_asked_for_its_own_key(two: Neighbours) -> None:
    """The key of one request must not let in the next on the same connection."""
    own = (("authorization", f"Bearer {two.key}"),)
    first = raw.request("POST", CHAT, headers=own, body=BODY, close=False)
    second = raw.request("POST", CHAT, body={**BODY, "model": "medical"}, close=False)
    third = raw.request("POST", CHAT, headers=own, body={**BODY, "model": "medical"})
    answers = raw.send(two.running.url, first + second + third)
    assert [answer.status for answer in answers] == [200, 401, 404]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 3


SMUGGLED = b"POST /v1/load_lora_adapter HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"
FRAMINGS = {
    "length and chunks": b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": b"content-length: 0\r\ncontent-length: 90\r\n\r\n",
    "a length with a sign": b"content-length: +0\r\n\r\n",
    "a negative length": b"content-length: -1\r\n\r\n",
    "an odd encoding": b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a folded header": b"transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    "a bare line feed": b"x: y\ncontent-length: 0\r\n\r\n",
    "a chunk too long": b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
}


@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS.keys())
def test_no_second_request_hides_in_a_first(two: Neighbours, framing: bytes) -> None:
    before = two.reached()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {two.key}\r\n"
    data = head.encode() + framing + SMUGGLED + raw.request("GET", "/v1/nowhere")
    answers = raw.send(two.running.url, data, seconds=3.0)
    assert answers
    assert all(400 <= answer.status < 500 for answer in answers)
    assert two.reached() == before


def test_what_is_too_large_is_refused_before_it_is_read(two: Neighbours) -> None:
    before = two.reached()
    own = (("authorization", f"Bearer {two.key}"),)
    big = {**BODY, "model": "medical", "messages": [{"role": "user", "content": "x" * 200_000}]}
    assert two.ask("POST", CHAT, big).status == 413
    announced = raw.request("POST", CHAT, headers=(*own, ("content-length", "9999999999")))
    assert [answer.status for answer in raw.send(two.running.url, announced)] == [413]
    chunks = raw.request("POST", CHAT, headers=(*own, ("transfer-encoding", "chunked")))
    chunks += b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    chunks += b"10000\r\n" + b"x" * 0x10000 + b"\r\n0\r\n\r\n"
    assert [answer.status for answer in raw.send(two.running.url, chunks)] == [413]
    for headers in ((("x-long", "x" * 40_000),), (("cookie", "a=b; " * 8_000),)):
        assert two.ask("POST", CHAT, BODY, headers).status == 431
    assert two.ask("GET", "/v1/models?" + "x" * 40_000).status == 431
    assert two.reached() == before
