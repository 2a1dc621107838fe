"""A running gateway as the engine of an evaluation: the protocol, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest
from transformers import AutoTokenizer

from adapterworks.builders.data.load import load_source
from adapterworks.builders.data.render import render_prompts
from adapterworks.builders.endpoints.endpoint import parse_endpoint
from adapterworks.builders.engines.choice import Engines
from adapterworks.builders.engines.engine import Adapter, Model, Sampling
from adapterworks.builders.engines.session import Subject
from adapterworks.builders.evaluation.asking import asked
from adapterworks.builders.evaluation.remote import Prices, Remote
from adapterworks.engines import gateway as module
from adapterworks.engines.gateway import GatewayEngine, GatewayOpener
from adapterworks.manifests.errors import InvalidInput, Refused, Unavailable
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from tests.builders.engines.conformance import exercise
from tests.gateway.running import Running


def adapter_of(registry: Registry, ref: str) -> Adapter:
    """A published release as evaluation tells of it."""
    resolved = registry.resolve(ref)
    release = registry.release(resolved.digest)
    folder = registry.checkout(resolved.digest, "servable")
    return Adapter(resolved.digest, folder, release.servable, folder, resolved.digest, release.name)


@pytest.fixture
def model(base: Base) -> Model:
    return Model(base.digest, base.name, base.served)


@pytest.mark.engine
def test_it_does_what_every_engine_must(
    gateway: Running, shared_registry: Registry, base: Base, model: Model
) -> None:
    rows = load_source("icd-10-cm:test", "messages").rows[:6]
    tokenizer = AutoTokenizer.from_pretrained(base.served)
    prompts = render_prompts(tokenizer, [row.prompt for row in rows])
    adapter = adapter_of(shared_registry, "medical")
    engine = GatewayOpener(gateway.url + "/v1", None).open(model, [adapter], longest=256)
    exercise(engine, adapter.digest, prompts)
    engine.close()


@pytest.mark.engine
def test_as_an_endpoint_it_says_what_the_same_adapter_says_here(
    gateway: Running, shared_registry: Registry, base: Base, model: Model
) -> None:
    """Its own template renders the turns, and its engine answers: the texts are the same."""
    rows = load_source("icd-10-cm:test", "messages").rows[:6]
    remote = Remote(parse_endpoint(f"{gateway.url}/v1#medical", {}, None), Prices(1.0, 1.0))
    turns = [row.prompt for row in rows]
    there = remote.generate(turns, max_new_tokens=12, batch_size=6)
    adapter = adapter_of(shared_registry, "medical")
    with Engines().session("huggingface", [Subject(model, adapter)], tokens=72) as session:
        here = asked(session, {"here": Subject(model, adapter)})["here"]()
        assert there == here.generate(turns, max_new_tokens=12, batch_size=6)
    used = remote.used()
    prompts = render_prompts(here.tokenizer, turns)
    assert used["prompt_tokens"] == sum(map(len, prompts))
    assert used["cost"] == pytest.approx((used["prompt_tokens"] + used["completion_tokens"]) / 1e6)


def test_another_base_under_the_same_name_is_refused(on_standin: Running, model: Model) -> None:
    other = Model("sha256:" + "0" * 64, model.name, model.folder)
    with pytest.raises(Refused, match="serves something else"):
        GatewayOpener(on_standin.url, None).open(other, [], longest=64)


def test_a_base_or_release_that_it_does_not_serve_is_refused(
    on_standin: Running, model: Model
) -> None:
    with pytest.raises(Refused, match=r"does not serve `nobody` to us \(404\)"):
        GatewayOpener(on_standin.url, None).open(
            Model(model.digest, "nobody", model.folder), [], longest=64
        )
    unknown = "sha256:" + "1" * 64
    with pytest.raises(Refused, match="does not serve `medical@sha256:1111"):
        GatewayOpener(on_standin.url, None).open(
            model,
            [Adapter(unknown, model.folder, release=unknown, name="medical")],
            longest=64,
        )


def test_what_is_not_published_is_refused_without_asking(model: Model) -> None:
    opener = GatewayOpener(None, None)
    assert opener.refuses(model, Adapter("sha256:" + "1" * 64, model.folder)) is not None
    assert opener.refuses(model, None) is None
    with pytest.raises(InvalidInput, match="no gateway is named"):
        opener.open(model, [], longest=64)


def answering(
    monkeypatch: pytest.MonkeyPatch, model: Model, answers: list[int | Exception]
) -> tuple[GatewayEngine, list[bytes]]:
    """A gateway that answers so, one after the other, and what it was asked; nobody waits."""
    asked: list[bytes] = []

    async def post(self: object, url: str, *, content: bytes, headers: object) -> Any:
        asked.append(content)
        answer = answers[min(len(asked), len(answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        choice = {
            "index": 0,
            "token_ids": [5],
            "finish_reason": "length",
            "logprobs": {"token_logprobs": [-0.5]},
        }
        headers = {"x-base-digest": model.digest}
        return httpx2.Response(answer, headers=headers, json={"choices": [choice]})

    monkeypatch.setattr(httpx2.AsyncClient, "post", post)
    monkeypatch.setattr(module, "_wait", lambda retry_after: 0.0)
    return GatewayEngine("http://gateway", None, model), asked


MODEL = Model("sha256:" + "7" * 64, "small", Path("nowhere"))


@pytest.mark.parametrize(
    "before",
    [
        httpx2.ConnectError("refused"),
        httpx2.ReadError(""),
        httpx2.RemoteProtocolError("closed"),
        503,
        429,
    ],
)
def test_a_gateway_that_is_started_anew_meanwhile_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, before: int | Exception
) -> None:
    engine, asked = answering(monkeypatch, MODEL, [before, before, 200])
    ((one,),) = engine.complete([[3, 4]], Sampling(1))
    assert one.token_ids == (5,)
    assert len({*asked}) == 1
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("answer", "times"),
    [
        (httpx2.ConnectError("refused"), module._TRIES),
        (503, module._TRIES),
        (httpx2.ReadTimeout("an hour"), 1),
        (500, 1),
    ],
)
def test_one_that_stays_away_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, answer: int | Exception, times: int
) -> None:
    engine, asked = answering(monkeypatch, MODEL, [answer])
    with pytest.raises(Unavailable):
        engine.complete([[3, 4]], Sampling(1))
    assert len(asked) == times


def test_a_gateway_that_is_not_there_is_unavailable(model: Model) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        GatewayOpener("http://127.0.0.1:9", None).open(model, [], longest=64)
