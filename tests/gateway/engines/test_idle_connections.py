"""Connections to an engine are let go before the engine closes them: a request never meets that."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.responses import JSONResponse
from vllm import envs

from adapterworks.gateway.engines import remote
from adapterworks.gateway.engines.client import KEEP_SECONDS
from tests.gateway.running import Loop, remote_engine


def test_ours_end_before_vllms() -> None:
    assert KEEP_SECONDS + 1 < envs.VLLM_HTTP_TIMEOUT_KEEP_ALIVE


def test_an_idle_connection_is_not_used_again(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "KEEP_SECONDS", 3.0)
    ports: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/v1/models":
            ports.append(scope["client"][1])
        await JSONResponse({"data": [{"id": "base"}]})(scope, receive, send)

    async def scene() -> None:
        async with remote_engine(app) as engine:
            for pause in (0.0, 0.0, 3.5):
                await asyncio.sleep(pause)
                await engine.models()

    loop.run(scene())
    assert len(set(ports[:-1])) == 1
    assert ports[-1] != ports[-2]
