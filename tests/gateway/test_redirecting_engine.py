"""An engine that points elsewhere is not followed: what it is sent goes to nobody else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.responses import JSONResponse, RedirectResponse

from gateway.engines import remote
from gateway.types import ServedBase
from tests.gateway.running import Loop, serve


@pytest.mark.parametrize("way", ["relayed", "admin"])
def test_a_redirect_is_not_followed(loop: Loop, way: str) -> None:
    paths: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        paths.append(scope["path"])
        if scope["method"] == "POST":
            answer: Any = RedirectResponse("/elsewhere")
        else:
            answer = JSONResponse({"data": [{"id": "base"}]})
        await answer(scope, receive, send)

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
        if way == "relayed":
            async with engine.post("/v1/chat/completions", b"{}", {}) as answer:
                assert answer.status == 307
        else:
            await engine.unload("sha256:" + "a" * 64)
        await engine.stop()
        await served.stop()

    loop.run(scene())
    assert "/elsewhere" not in paths
    assert len([path for path in paths if path.startswith("/v1/")]) >= 1
