"""Whatever way a request ends, its permit, its turn and its lease are given back.

There is one of each: the tenant may have one request in flight, the engine works on one request at
once, and one adapter at a time may use it. So after every way a request can end, the next one, for
another adapter, gets an answer if and only if nothing was kept.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapterworks.gateway.config.tables import (
    FairnessTable,
    GatewayConfig,
    HttpTable,
    ResidencyTable,
    TrustTable,
)
from adapterworks.gateway.request import shadow
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from tests.gateway import raw
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Loop, Running
from tests.registry.releases import publish

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]


@dataclass
class One:
    """The gateway of one of each."""

    running: Running
    standin: StandIn
    key: str

    def post(self, model: str = "a", **fields: Any) -> httpx.Response:
        """One chat completion."""
        body = {"model": model, "messages": HELLO, "max_tokens": 1, **fields}
        with self.running.http(self.key) as http:
            return http.post(CHAT, json=body)

    def abandon(self, seconds: float, **fields: Any) -> None:
        """Send a request and hang up on it after `seconds`."""
        body = {"model": "a", "messages": HELLO, "max_tokens": 100, **fields}
        key = ("authorization", f"Bearer {self.key}")
        data = raw.request("POST", CHAT, headers=(key,), body=body, close=False)
        port = int(self.running.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(data)
            time.sleep(seconds)


@pytest.fixture(scope="module")
def one(loop: Loop, base: Base, tmp_path_factory: pytest.TempPathFactory) -> Iterator[One]:
    home = Path(tmp_path_factory.mktemp("one"))
    registry = Registry.open(
        database=f"sqlite:///{home / 'index.db'}", blobs=str(home / "blobs"), home=home
    )
    for number, name in enumerate(("a", "b"), 1):
        publish(registry, home, number, name=name, alias="prod", base=base.identity)
    other = base.identity.model_copy(update={"digest": "sha256:" + "e" * 64})
    publish(registry, home, 3, name="elsewhere", alias="prod", base=other)
    publish(registry, home, 4, name="formless", alias="prod", base=base.identity, servable=None)
    admin = TenantAdmin(registry.database, who="tester")
    key = admin.add("one", allow=("*",), limits=Limits(tpm=100_000, max_concurrency=1))[1].text
    launcher, standin = Launcher(loop), StandIn(base.name)
    running = launcher.gateway(
        registry,
        [launcher.standin(base, standin, slots=1, capacity=1)],
        home / "spool",
        GatewayConfig(
            trust=TrustTable(proof="off"),
            fairness=FairnessTable(slots=1),
            residency=ResidencyTable(cold_wait_seconds=1.0),
            http=HttpTable(request_seconds=5.0),
        ),
    )
    running.wait_ready()
    yield One(running, standin, key)
    launcher.close()


def _left_streaming(one: One) -> None:
    one.standin.token_seconds = 0.02
    one.abandon(0.3, stream=True)


def _left_waiting(one: One) -> None:
    one.standin.token_seconds = 0.02
    one.abandon(0.3)


def _left_loading(one: One) -> None:
    one.standin.load_seconds = 0.5
    one.abandon(0.2, model="b")
    one.abandon(0.2, model="a")


def _left_at_once(one: One) -> None:
    for _ in range(20):
        one.abandon(0.0)


def _broke_streaming(one: One) -> None:
    one.standin.token_seconds = 0.02
    with (
        one.running.http(one.key) as http,
        http.stream("POST", CHAT, json={"model": "a", "messages": HELLO, "stream": True}) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        one.standin.broken = True
        assert "broke off" in "".join(lines)


def _engine_away(one: One) -> None:
    one.standin.broken = True
    deadline = time.monotonic() + 5
    while one.post().status_code != 503:
        assert time.monotonic() < deadline


def _load_too_slow(one: One) -> None:
    one.standin.load_seconds = 1.5
    told = {one.post(model).status_code for model in ("a", "b")}
    assert 503 in told


WAYS: dict[str, Callable[[One], object]] = {
    "answered": lambda one: one.post().raise_for_status(),
    "streamed": lambda one: one.post(stream=True).raise_for_status(),
    "refused by the engine": lambda one: _is(one.post(messages="none"), 400),
    "too many tokens for the engine": lambda one: _is(one.post(max_tokens=10**9), 400),
    "a number that no engine takes": lambda one: _is(one.post(max_tokens=10**400), 400),
    "more answers than the engine works on": lambda one: _is(one.post(n=2), 400),
    "no such path on the engine": lambda one: _embeddings(one),
    "no such adapter": lambda one: _is(one.post("nobody"), 404),
    "a base that no engine serves": lambda one: _is(one.post("elsewhere"), 503, 404, 422),
    "nothing to load": lambda one: _is(one.post("formless"), 422),
    "the client left a stream": _left_streaming,
    "the client left a whole answer": _left_waiting,
    "the client left during a load": _left_loading,
    "the client left at once": _left_at_once,
    "the engine broke off": _broke_streaming,
    "the engine is away": _engine_away,
    "the load took too long": _load_too_slow,
}


def _is(answer: httpx.Response, *status: int) -> None:
    assert answer.status_code in status, answer.text


def _embeddings(one: One) -> None:
    with one.running.http(one.key) as http:
        _is(http.post("/v1/embeddings", json={"model": "a", "input": "hi"}), 404)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_nothing_is_kept_when_a_request_ends(one: One, way: Callable[[One], object]) -> None:
    try:
        way(one)
    finally:
        one.standin.token_seconds = one.standin.load_seconds = 0.0
        one.standin.broken = False
    _all_free(one)


def test_nothing_is_kept_when_the_gateway_itself_fails(
    one: One, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(shadow, "consider", fail)
    assert one.post().status_code == 500
    monkeypatch.undo()
    _all_free(one)


def _all_free(one: One) -> None:
    """Both adapters answer soon; what is kept would be kept for ever."""
    one.running.wait_ready()
    deadline = time.monotonic() + 60
    for model in ("b", "a"):
        while (answer := one.post(model)).status_code != 200:
            assert answer.status_code in (429, 503), answer.text
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.05)
