"""Connections to an engine are let go before the engine closes them: a request never meets that."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.responses import JSONResponse
from vllm import envs

from gateway.engines import remote
from gateway.engines.client import KEEP_SECONDS
from gateway.types import ServedBase
from tests.gateway.running import Loop, serve


def test_ours_end_before_vllms() -> None:
    assert KEEP_SECONDS + 1 < envs.VLLM_HTTP_TIMEOUT_KEEP_ALIVE


def test_an_idle_connection_is_not_used_again(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "KEEP_SECONDS", 0.3)
    ports: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        ports.append(scope["client"][1])
        await JSONResponse({"data": [{"id": "base"}]})(scope, receive, send)

    async def scene() -> None:
        served = await serve(app)
        engine = remote.RemoteEngine(
            "one",
            ServedBase("base", "base", "sha256:" + "b" * 64),
            url=served.url,
            slots=1,
            capacity=1,
            parallel=1,
            key=None,
            interval=60.0,
            request_seconds=5.0,
        )
        await engine.start()
        while engine.health.state != "ready":  # noqa: ASYNC110 (it has no event for us)
            await asyncio.sleep(0.01)
        for pause in (0.0, 0.0, 0.7):
            await asyncio.sleep(pause)
            await engine.models()
        await engine.stop()
        await served.stop()

    loop.run(scene())
    assert len(set(ports[:-1])) == 1
    assert ports[-1] != ports[-2]
