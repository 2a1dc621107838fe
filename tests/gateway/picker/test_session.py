"""One request of Envoy's without Envoy: what is read of it, and what it costs."""

from __future__ import annotations

import importlib.util
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapterworks.gateway.config.tables import GatewayConfig, TrustTable
from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.engines.target import ServedBase
from adapterworks.gateway.metering.usage import usage
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.registry.registry import Registry
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Loop, Running
from tests.registry.releases import BASE, publish

there = importlib.util.find_spec("grpc")
pytestmark = pytest.mark.skipif(there is None, reason="needs the extra `envoy`")
_BODY = b'{"model": "a1", "messages": [{"role": "user", "content": "hello"}]}'


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Running, str]]:
    """A gateway with a tenant, and its key."""
    loop = Loop()
    launcher = Launcher(loop)
    registry = Registry.open(
        database=f"sqlite:///{tmp_path / 'index.db'}", blobs=str(tmp_path / "b"), home=tmp_path
    )
    publish(registry, tmp_path, 1, name="a1", alias="prod")
    _, key = TenantAdmin(registry.database, who="me").add("ann", allow=("*",), limits=Limits())
    engine = launcher.standin(ServedBase("tiny", "tiny", BASE.digest), StandIn("tiny"))
    config = GatewayConfig(trust=TrustTable(proof="off"))
    running = launcher.gateway(registry, [engine], tmp_path / "spool", config)
    running.wait_ready()
    yield running, key.text
    launcher.close()
    registry.close()
    loop.close()


def _head(key: str) -> Any:
    from adapterworks.gateway.picker import ext_proc_pb2 as wire

    given = {":path": "/v1/chat/completions", ":method": "POST", "authorization": f"Bearer {key}"}
    headers = [wire.HeaderValue(key=k, raw_value=v.encode()) for k, v in given.items()]
    return wire.ProcessingRequest(
        request_headers=wire.HttpHeaders(headers=wire.HeaderMap(headers=headers))
    )


def _body(data: bytes, *, end: bool) -> Any:
    from adapterworks.gateway.picker import ext_proc_pb2 as wire

    return wire.ProcessingRequest(request_body=wire.HttpBody(body=data, end_of_stream=end))


async def _said(session: Any) -> list[Any]:
    said = [one async for one in session.answers()]
    await session.close()
    return said


def test_an_engine_without_an_address_costs_nothing(running: tuple[Running, str]) -> None:
    from adapterworks.gateway.picker import service
    from adapterworks.gateway.picker.session import Session

    gateway = running[0].gateway
    base = ServedBase("tiny", "tiny", BASE.digest)
    moved = Launcher(running[0].loop).remote(base, "http://engine.invalid:1")

    async def gone(engine: Engine) -> tuple[str, str | None]:
        return await service._destination(moved)

    async def ask() -> list[Any]:
        session = Session(gateway, gone)
        session.take(_head(running[1]))
        session.take(_body(_BODY, end=True))
        return await _said(session)

    (said,) = running[0].loop.run(ask())
    assert said.immediate_response.status.code == 503
    assert "no address" in said.immediate_response.body.decode()
    deadline = time.monotonic() + 20
    while not (rows := usage(gateway.registry.database, by=("release",))):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (row,) = rows
    assert (row.requests, row.prompt_tokens, row.completion_tokens) == (1, 0, 0)


def test_who_is_not_let_in_sends_no_body(
    running: tuple[Running, str], caplog: pytest.LogCaptureFixture
) -> None:
    from adapterworks.gateway.picker.session import Session

    gateway = running[0].gateway

    async def nowhere(engine: Engine) -> tuple[str, str | None]:
        raise AssertionError(f"nobody goes to {engine.id}")

    async def ask() -> tuple[list[Any], int]:
        session = Session(gateway, nowhere)
        session.take(_head("junk"))
        for _ in range(3):  # answered already, and Envoy is still bringing it
            session.take(_body(b"x" * 1000, end=False))
        return await _said(session), len(session._body)

    with caplog.at_level(logging.WARNING, "adapterworks.gateway.access"):
        (said,), kept = running[0].loop.run(ask())
    assert (said.immediate_response.status.code, kept) == (401, 0)
    assert "not let in" in caplog.text
    assert gateway.metrics.refusals.labels("", "auth_unknown")._value.get() == 1.0
