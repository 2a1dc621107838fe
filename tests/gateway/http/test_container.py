"""The contracts of SageMaker AI's and Vertex AI's containers, by calling them as these do."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapterworks.gateway.capture.answered import answered
from adapterworks.gateway.config.load import load_gateway_config
from adapterworks.gateway.config.tables import GatewayConfig, HttpTable, TrustTable
from adapterworks.gateway.http.routes.openapi import document
from adapterworks.gateway.metering import meter
from adapterworks.gateway.metering.usage import usage
from adapterworks.gateway.request.body import parse_body
from adapterworks.gateway.request.cost import most
from adapterworks.gateway.request.instances import calls_of
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits, Tenant
from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.manifests.faults import ManifestError
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Running
from tests.registry.releases import publish

HELLO = [{"role": "user", "content": "hello"}]
CHAT: dict[str, Any] = {"model": "shared", "messages": HELLO, "max_tokens": 3}
AIP = {
    "AIP_HTTP_PORT": "8099",
    "AIP_HEALTH_ROUTE": "/v1/endpoints/7/deployedModels/9",
    "AIP_PREDICT_ROUTE": "/v1/endpoints/7/deployedModels/9:predict",
}


class Platform:
    """A gateway in a platform's container: `shared` is its tenant's, `medical` is not."""

    def __init__(self, running: Running, standin: StandIn, tenant: Tenant, key: str) -> None:
        self.running, self.standin, self.tenant, self.key = running, standin, tenant, key

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        """As the platform asks: without a key of ours."""
        return httpx.post(self.running.url + path, json=body, headers=headers)

    def usage(self, requests: int) -> tuple[int, int, int]:
        """Requests, prompt and completion tokens of the tenant, once there are so many requests."""
        deadline = time.monotonic() + 30
        while True:
            rows = usage(self.running.gateway.registry.database, by=[], tenant_id=self.tenant.id)
            found = rows[0] if rows else None
            if found is not None and found.requests >= requests:
                return found.requests, found.prompt_tokens, found.completion_tokens
            assert time.monotonic() < deadline, rows
            time.sleep(0.02)


@pytest.fixture
def start_platform(
    launcher: Launcher,
    registry: Registry,
    standin: StandIn,
    base: Base,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    monkeypatch.setattr(meter, "DRAIN_SECONDS", 0.02)

    def start(http: HttpTable, **more: Any) -> Platform:
        for number, name in enumerate(("shared", "medical"), 1):
            publish(registry, tmp_path, number, name=name, alias="prod", base=base.identity)
        admin = TenantAdmin(registry.database, who="tester")
        tenant, key = admin.add("platform", allow=("shared",), limits=Limits())
        config = GatewayConfig(trust=TrustTable(proof="off"), http=http, **more)
        engine = launcher.standin(base, standin)
        running = launcher.gateway(registry, [engine], tmp_path / "spool", config)
        running.wait_ready()
        running.gateway.container_key = key.text
        return Platform(running, standin, tenant, key.text)

    return start


def test_sagemaker_pings_and_invokes(start_platform: Any) -> None:
    platform = start_platform(HttpTable(container="sagemaker"))
    assert httpx.get(platform.running.url + "/ping").status_code == 200
    answer = platform.post("/invocations", CHAT)
    assert answer.status_code == 200
    said = answer.json()
    assert (said["object"], said["model"]) == ("chat.completion", "shared")
    assert answer.headers["x-adapter-ref"] == "shared"
    assert answer.headers["x-request-id"].startswith("req-")
    prompt = {"model": "shared", "prompt": "hello", "max_tokens": 2}
    assert platform.post("/invocations", prompt).json()["object"] == "text_completion"
    counts = said["usage"]["prompt_tokens"], said["usage"]["completion_tokens"]
    requests, of_prompts, of_answers = platform.usage(2)
    assert requests == 2
    assert (of_prompts > counts[0], of_answers) == (True, 5)
    # As the API does, whose own paths still want a key.
    assert platform.post("/v1/chat/completions", CHAT).status_code == 401


def test_sagemaker_gets_a_stream(start_platform: Any) -> None:
    platform = start_platform(HttpTable(container="sagemaker"))
    answer = platform.post("/invocations", {**CHAT, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.rstrip().endswith("data: [DONE]")
    assert platform.usage(1)[2] == 3


def test_a_ping_says_no_while_nothing_can_answer(start_platform: Any) -> None:
    platform = start_platform(HttpTable(container="sagemaker"))
    platform.running.gateway.draining = True
    answer = httpx.get(platform.running.url + "/ping")
    assert (answer.status_code, answer.json()["reason"]) == (503, "draining")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"model": "shared"}, "one of `messages`, `prompt` and `input`"),
        ({**CHAT, "prompt": "and this"}, "one of `messages`, `prompt` and `input`"),
        ({**CHAT, "stream": "yes"}, "`stream`"),
        ({**CHAT, "max_tokens": 0}, "`max_tokens`"),
        ({"messages": HELLO}, "`model` is missing"),
    ],
)
def test_what_is_malformed_is_named_and_reaches_no_engine(
    start_platform: Any, body: dict[str, Any], says: str
) -> None:
    platform = start_platform(HttpTable(container="sagemaker"))
    answer = platform.post("/invocations", body)
    assert answer.status_code == 400
    assert says in answer.json()["error"]["message"]
    assert platform.standin.bodies == []


def test_the_platforms_key_reaches_its_own_adapters_alone(start_platform: Any) -> None:
    """Whatever else the request carries: the platform forwards what its own callers send."""
    platform = start_platform(HttpTable(container="vertex"))
    admin = TenantAdmin(platform.running.gateway.registry.database, who="tester")
    other = admin.add("other", allow=("medical",), limits=Limits())[1]
    for headers in ({}, {"authorization": f"Bearer {other.text}"}, {"x-api-key": other.text}):
        for body in ({**CHAT, "model": "medical"}, {"instances": [{**CHAT, "model": "medical"}]}):
            answer = platform.post("/predict", body, **headers)
            assert answer.status_code == 404
            assert "medical" in answer.json()["error"]["message"]
    assert platform.standin.bodies == []


def test_without_a_key_of_its_own_the_caller_shows_one(start_platform: Any) -> None:
    platform = start_platform(HttpTable(container="sagemaker"))
    platform.running.gateway.container_key = None
    assert platform.post("/invocations", CHAT).status_code == 401
    shown = {"authorization": f"Bearer {platform.key}"}
    assert platform.post("/invocations", CHAT, **shown).status_code == 200


def test_vertex_predicts_each_instance_as_a_request(start_platform: Any) -> None:
    config = load_gateway_config(None, AIP)
    assert (config.port, config.http.container) == (8099, "vertex")
    platform = start_platform(config.http)
    health, predict = AIP["AIP_HEALTH_ROUTE"], AIP["AIP_PREDICT_ROUTE"]
    assert httpx.get(platform.running.url + health).json() == {"status": "ready"}
    instances = [
        {"messages": [{"role": "user", "content": f"number {number}"}]} for number in range(12)
    ]
    instances[5] = {**instances[5], "max_tokens": 7}
    body = {"instances": instances, "parameters": {"model": "shared", "max_tokens": 3}}
    answer = platform.post(predict, {**body, "labels": {}})
    assert answer.status_code == 200
    predictions = answer.json()["predictions"]
    assert [p["usage"]["completion_tokens"] for p in predictions] == [3] * 5 + [7] + [3] * 6
    assert answer.headers["x-adapter-ignored"] == "labels"
    # Each is metered under a name of its own.
    assert platform.usage(12)[::2] == (12, 11 * 3 + 7)
    ids = {headers["x-request-id"] for headers in platform.standin.headers}
    whole = answer.headers["x-request-id"]
    assert ids == {f"{whole}-{number}" for number in range(12)}
    by_id = {
        headers["x-request-id"]: sent["messages"][0]["content"]
        for headers, sent in zip(platform.standin.headers, platform.standin.bodies, strict=True)
    }
    assert by_id[f"{whole}-11"] == "number 11"
    # And can be judged by it, and by the name that its prediction has.
    gateway = platform.running.gateway
    for recent in (gateway.recent, None):
        for name in (f"{whole}-3", predictions[3]["id"], f"cmpl-{whole}-3-0"):
            subject = answered(gateway.capture.store, platform.tenant.id, name, recent)
            assert (subject.receipt, subject.adapter) == (f"{whole}-3", "shared")
        for name in (whole, f"{whole}-12", predictions[3]["id"] + "-0-0"):
            with pytest.raises(NotFound):
                answered(gateway.capture.store, platform.tenant.id, name, recent)


def test_an_instance_is_as_large_as_all_that_it_asks() -> None:
    """What is told to all of them is told to each; and one may be larger than all others."""
    long = [{"role": "user", "content": "é" * 50_000}]
    instances: list[dict[str, Any]] = [{}, {"max_tokens": 2}, {"messages": HELLO}, {"n": 2}]
    values = {"instances": instances, "parameters": {"model": "m", "messages": long}}
    calls = calls_of(parse_body(json.dumps(values).encode()), None)
    sizes = [len(json.dumps(call.asked.messages, ensure_ascii=False).encode()) for call in calls]  # type: ignore[attr-defined]
    assert [most(call, 10**9).prompt >= size for call, size in zip(calls, sizes, strict=True)] == (
        [True] * 4
    )
    assert calls[0].size > 100_000
    assert calls[2].size < 200


def test_vertex_raw_predict_is_the_request_itself(start_platform: Any) -> None:
    platform = start_platform(HttpTable(container="vertex"), default_adapter="shared")
    body = {key: value for key, value in CHAT.items() if key != "model"}
    assert platform.post("/predict", body).json()["model"] == "shared"
    assert "data: [DONE]" in platform.post("/predict", {**body, "stream": True}).text
    assert platform.post("/predict", {"instances": [body]}).status_code == 200


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"instances": []}, "list of 1 to 128"),
        ({"instances": [CHAT] * 129}, "list of 1 to 128"),
        ({"instances": {"a": CHAT}}, "list of 1 to 128"),
        ({"instances": [CHAT, "text"]}, "`instances[1]` must be an object"),
        ({"instances": [CHAT], "parameters": [1]}, "`parameters` must be an object"),
        ({"instances": [CHAT, {**CHAT, "n": -1}]}, "`instances[1]`: `n`"),
        ({"instances": [{**CHAT, "stream": True}]}, "`stream` has no meaning"),
    ],
)
def test_one_instance_that_is_wrong_and_none_is_asked(
    start_platform: Any, body: dict[str, Any], says: str
) -> None:
    platform = start_platform(HttpTable(container="vertex"))
    answer = platform.post("/predict", body)
    assert answer.status_code == 400
    assert says in answer.json()["error"]["message"]
    assert platform.standin.bodies == []


def test_an_instance_that_fails_is_named(start_platform: Any) -> None:
    platform = start_platform(HttpTable(container="vertex"))
    body = {"instances": [CHAT, {**CHAT, "model": "nobody"}]}
    answer = platform.post("/predict", body)
    assert answer.status_code == 404
    assert answer.json()["error"]["message"].startswith("`instances[1]`: ")


def test_a_refusal_that_is_kept_says_nothing_of_who_met_it_first(start_platform: Any) -> None:
    """It is told to everybody who asks for the adapter in the next minute."""
    platform = start_platform(HttpTable(container="vertex"))
    platform.standin.cannot_load = "its rank is too high"
    one = platform.post("/predict", {"instances": [CHAT]}).json()["error"]["message"]
    same = platform.post("/predict", {"instances": [CHAT]}).json()["error"]["message"]
    assert one == same
    assert one.startswith("`instances[0]`: ")
    key = {"authorization": f"Bearer {platform.key}"}
    answer = platform.post("/v1/chat/completions", CHAT, **key)
    assert answer.status_code == 422
    assert answer.json()["error"]["message"] == one.removeprefix("`instances[0]`: ")


def test_a_caller_that_leaves_ends_every_instance(start_platform: Any) -> None:
    platform = start_platform(HttpTable(container="vertex"))
    platform.standin.holds_after = 0
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(platform.running.url + "/predict", json={"instances": [CHAT] * 20}, timeout=1.0)
    (engine,) = platform.running.gateway.pool.engines
    deadline = time.monotonic() + 30
    while engine.inflight or platform.running.gateway.queue(engine).running:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert 1 <= len(platform.standin.bodies) <= 8  # and no further one was begun
    platform.standin.holds_after = None


@pytest.mark.parametrize(
    ("http", "predict"),
    [
        (HttpTable(container="sagemaker"), "/invocations"),
        (HttpTable(container="vertex"), "/predict"),
    ],
)
def test_the_contract_is_in_the_description(
    start_platform: Any, http: HttpTable, predict: str
) -> None:
    platform = start_platform(http)
    described = httpx.get(platform.running.url + "/openapi.json").json()["paths"]
    assert described.keys() - document()["paths"].keys() >= {predict}
    assert json.dumps(described[predict]).count('"instances"') == (http.container == "vertex")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models/x", "/generate"])
def test_the_gateways_own_paths_are_not_given_away(start_platform: Any, path: str) -> None:
    with pytest.raises(InvalidInput, match="a path of the gateway's own"):
        start_platform(HttpTable(container="vertex", predict_route=path))


def test_it_is_off_unless_asked_for(start_platform: Any) -> None:
    platform = start_platform(HttpTable())
    for path in ("/ping", "/invocations", "/predict"):
        assert httpx.get(platform.running.url + path).status_code == 404
        assert platform.post(path, CHAT).status_code == 404


def test_the_platforms_variables_come_before_others_and_are_named() -> None:
    config = load_gateway_config(None, {**AIP, "ADAPTERS_GATEWAY_PORT": "8080"})
    assert config.port == 8099
    assert config.http.predict_route == AIP["AIP_PREDICT_ROUTE"]
    of_sagemaker = {**AIP, "ADAPTERS_GATEWAY_HTTP__CONTAINER": "sagemaker"}
    told = load_gateway_config(None, of_sagemaker)
    assert (told.port, told.http.container, told.http.health_route) == (8080, "sagemaker", None)
    for variable, text in (("AIP_HTTP_PORT", "99999"), ("AIP_PREDICT_ROUTE", "predict {x}")):
        with pytest.raises(ManifestError) as caught:
            load_gateway_config(None, {**AIP, variable: text})
        assert [fault.file for fault in caught.value.faults] == [f"${variable}"]


def test_what_means_nothing_without_a_platform_is_refused() -> None:
    for key, text in (("HEALTH_ROUTE", "/a"), ("PREDICT_ROUTE", "/a"), ("CONTAINER_KEY_ENV", "A")):
        with pytest.raises(ManifestError) as caught:
            load_gateway_config(None, {f"ADAPTERS_GATEWAY_HTTP__{key}": text})
        assert len(caught.value.faults) == 1
