"""A load has a bound of its own: what a relayed request may take does not end it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, PlainTextResponse

from adapterworks.manifests.errors import Unavailable
from tests.gateway.running import Loop, remote_engine


def test_a_load_may_take_longer_than_a_request(loop: Loop) -> None:
    async def scene() -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["method"] == "POST":
                begun.set()
                await go_on.wait()
                await PlainTextResponse("Success")(scope, receive, send)
            else:
                await JSONResponse({"data": [{"id": "base"}]})(scope, receive, send)

        async with remote_engine(app, request_seconds=0.3) as engine:
            loading = asyncio.create_task(engine.load("sha256:" + "a" * 64, Path("/here")))
            await begun.wait()
            # A request that begins after the load, and is given up.
            with pytest.raises(Unavailable, match="did not answer in time"):
                async with engine.post("/v1/chat/completions", b"{}", {}):
                    pass
            assert not loading.done()
            go_on.set()
            await loading

    loop.run(scene())
